"""Random weights of the models that are trained from scratch, whatever their family."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Fills a matrix with numbers around zero of that standard deviation.
Draw = Callable[[Tensor, float, Generator], object]

_TABLES = ('embed', 'lm_head')
# What writes into the residual stream, as Llama, Qwen and ModernBERT name it.
_RESIDUAL = ('o_proj.weight', 'down_proj.weight', '.Wo.weight')


def initialise(model: 'PreTrainedModel', seed: int, draw: Draw) -> None:
    """Scaled by width; what writes into the residual stream is scaled down by depth."""
    generator = torch.Generator().manual_seed(seed)
    depth = 2 * model.config.num_hidden_layers
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(0.0 if name.endswith('.bias') else 1.0)
                continue
            is_table = any(part in name for part in _TABLES)
            std = 0.02 if is_table else parameter.shape[1] ** -0.5 / 2
            if name.endswith(_RESIDUAL):
                std *= depth**-0.5
            draw(parameter, std, generator)
