"""LoRA on a model that was made elsewhere: what is trained, what a checkpoint holds, and the merge.

Hu et al. 2021, by PEFT. The base stays frozen, in the precision of the products; its adapters are
float32, and are merged into the base as it was imported.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainer.chat import TEMPLATE_NAME
from trainer.recipes import Lora

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PROJECTIONS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']


def load_base(folder: str, dtype: torch.dtype) -> 'PreTrainedModel':
    """A model in transformers' layout."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    for parameter in model.parameters():
        # A clone lies aligned in memory; a mapped one may not, and kernels then round otherwise.
        parameter.data = parameter.data.clone()
    return model


def add_adapters(model: 'PreTrainedModel', lora: Lora, seed: int) -> None:
    """Freezes a model and puts adapters around every projection of its layers, in place.

    They change nothing yet: the second factor of each is zero, the first depends on the seed.
    """
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=_PROJECTIONS, bias='none'
    )
    inject_adapter_in_model(config, model)
    for parameter in trained_parameters(model).values():
        parameter.data = parameter.data.float()


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """By name, what training moves: all parameters, or the adapters alone."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def share_adapters(model: nn.Module, lora: Lora, share: float) -> None:
    """Lets so much of what the adapters learnt count: 1 as trained, 0 the base alone.

    Between a model and its fine-tuned self, much of the gain is kept and little of the rest is
    lost: Wortsman et al. 2022.
    """
    for module in model.modules():
        for adapter in getattr(module, 'lora_A', ()):
            module.scaling[adapter] = lora.alpha / lora.rank * share


@torch.no_grad()
def save_merged(model: 'PreTrainedModel', base: str, folder: Path) -> None:
    """Writes the base with the adapters added to its weights, in float32."""
    merged = load_base(base, torch.float32)
    targets = dict(merged.named_modules())
    for name, module in model.named_modules():
        for adapter in getattr(module, 'lora_A', ()):
            down, up = module.lora_A[adapter].weight, module.lora_B[adapter].weight
            targets[name].weight += module.scaling[adapter] * (up @ down)
    merged.save_pretrained(folder)
    keep_template(base, folder)


def keep_template(parent: str | None, folder: Path) -> None:
    """A model that goes on from one that chats in its own words chats in them too."""
    template = None if parent is None else Path(parent) / TEMPLATE_NAME
    if template is not None and template.is_file():
        shutil.copyfile(template, folder / TEMPLATE_NAME)


def keep_configuration(model: 'PreTrainedModel', parent: str) -> None:
    """Takes over what is no weight and no shape, and yet part of the function."""
    config = json.loads((Path(parent) / 'config.json').read_text('utf-8'))
    for name in ('rms_norm_eps', 'bos_token_id', 'eos_token_id'):
        if name in config:
            setattr(model.config, name, config[name])
