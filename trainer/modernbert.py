"""ModernBERT (Warner et al. 2024): built from its shape, and the loss of its hidden words.

A hidden state turns into words only where a word was hidden, for the head over the vocabulary is
most of the work of a small model.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.initialise import initialise
from trainer.shapes import MaskedShape

if TYPE_CHECKING:
    from transformers import ModernBertForMaskedLM

# After those of the corpus: the mask, then the padding.
ADDED_TOKENS = 2
# Beyond so many deviations no weight is drawn, as ModernBERT's makers do.
_CUTOFF = 2.0


def build_masked(
    shape: MaskedShape, seed: int, *, boundary: int, vocabulary: int
) -> 'ModernBertForMaskedLM':
    """Random weights that depend on the seed alone; the corpus has so many tokens."""
    if shape.vocabSize != vocabulary + ADDED_TOKENS:
        raise ValueError(
            f'model.vocabSize: found {shape.vocabSize}, expected {vocabulary + ADDED_TOKENS}: '
            f'the {vocabulary} tokens of the tokenizer, the mask and the padding'
        )
    # Imported late: transformers takes seconds, and a wrong configuration should be told at once.
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    layers = [
        'sliding_attention' if layer % shape.globalEvery else 'full_attention'
        for layer in range(shape.numLayers)
    ]
    rope = {'rope_type': 'default', 'rope_theta': shape.ropeTheta}
    config = ModernBertConfig(
        vocab_size=shape.vocabSize,
        hidden_size=shape.hiddenSize,
        intermediate_size=shape.intermediateSize,
        num_hidden_layers=shape.numLayers,
        num_attention_heads=shape.numHeads,
        max_position_embeddings=shape.contextLength,
        layer_types=layers,
        local_attention=shape.localWindow,
        rope_parameters={'full_attention': dict(rope), 'sliding_attention': dict(rope)},
        # Packed documents are parted by one token: it begins a text as it ends it.
        bos_token_id=boundary,
        eos_token_id=boundary,
        cls_token_id=boundary,
        sep_token_id=boundary,
        pad_token_id=vocabulary + 1,
        classifier_pooling='mean',
    )
    torch.manual_seed(seed)
    model = ModernBertForMaskedLM._from_config(config, attn_implementation='sdpa')
    initialise(model, seed, _draw)
    return model


def _draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    bound = _CUTOFF * std
    nn.init.trunc_normal_(parameter, 0.0, std, -bound, bound, generator=generator)


class MaskedPass(nn.Module):
    """Computes the loss of hidden words by the model's own forward pass."""

    def __init__(self, model: 'ModernBertForMaskedLM', dtype: torch.dtype) -> None:
        super().__init__()
        self._model = model
        self._dtype = dtype

    def forward(self, inputs: Tensor, places: Tensor, targets: Tensor) -> Tensor:
        """Sum of nats over the words that stood at these places of each row."""
        with torch.autocast('cpu', torch.bfloat16, enabled=self._dtype == torch.bfloat16):
            hidden = self._model.model(input_ids=inputs).last_hidden_state
            index = places[..., None].expand(-1, -1, hidden.shape[-1])
            logits = self._model.decoder(self._model.head(hidden.gather(1, index)))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction='sum')
