"""A causal model of any configuration of transformers: built as its makers wrote it, and trained
through its own forward pass. We set what the run decides: vocabulary, context, end of a text.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.shapes import GivenModel

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def read_config(values: dict[str, Any]) -> 'PreTrainedConfig':
    """The configuration as it was given; raises ValueError where it is not of a causal model."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = values.get('model_type')
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ValueError(
            f'model.config: found model_type {kind!r}, expected one of the causal models of '
            'transformers, such as llama, gpt2, gemma, mistral or olmo'
        )
    settings = {key: value for key, value in values.items() if key != 'model_type'}
    try:
        return AutoConfig.for_model(kind, **settings)
    except Exception as error:
        # Each configuration class refuses in words and types of its own.
        raise ValueError(f'model.config: not one of a {kind} model: {error}') from error


def settle_config(
    config: 'PreTrainedConfig', *, vocab_size: int, context_length: int, end_of_text: int
) -> 'PreTrainedConfig':
    """Sets what the run decides, in place."""
    config.vocab_size = vocab_size
    config.max_position_embeddings = context_length
    config.bos_token_id = config.eos_token_id = end_of_text
    config.pad_token_id = None
    return config


def build_given(shape: GivenModel, seed: int, end_of_text: int) -> 'PreTrainedModel':
    """Random weights, as the model's makers draw them; they depend on the seed alone."""
    from transformers import AutoModelForCausalLM

    config = settle_config(
        read_config(shape.config),
        vocab_size=shape.vocabSize,
        context_length=shape.contextLength,
        end_of_text=end_of_text,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config)


class OwnPass(nn.Module):
    """The losses of `LeanModel`, by the model's own forward pass."""

    def __init__(self, model: 'PreTrainedModel', dtype: torch.dtype) -> None:
        super().__init__()
        self._model = model
        self._dtype = dtype

    def _logits(self, inputs: Tensor) -> Tensor:
        # What drops out while it learns must not while it is measured.
        self._model.train(torch.is_grad_enabled())
        with torch.autocast(
            inputs.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16
        ):
            return self._model(input_ids=inputs, use_cache=False).logits.float()

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Sum of nats over the targets that are not negative; behind them stands padding."""
        logits = self._logits(inputs).flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten(), reduction='sum')

    def row_nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Nats of each row, over its targets that are not negative."""
        logits = self._logits(inputs).transpose(1, 2)
        return F.cross_entropy(logits, targets, reduction='none').sum(1)
