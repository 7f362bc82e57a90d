"""Measures a configuration of transformers before anything is spent on it: `python -m
trainer.measure --config FILE`.

Parameters are counted on the meta device, which holds no weights. Whether it can be served is
tried, on a copy of two layers with random weights: it is exported and asked, as a bundle would be.
"""

import contextlib
import copy
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.given import read_config, settle_config
from trainer.short_lived import run_module, say
from trainer.special_tokens import END_OF_TEXT

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# What one step of training and a stream of the server hold.
_MAX_CONTEXT = 1024
_VOCABULARIES = (512, 1024)
_TRIED_LAYERS = 2
_TRIED_TOKENS = 12
_TOLERANCE = 1e-3


@dataclass(kw_only=True, slots=True)
class MeasureRun:
    """The content of a config.json."""

    schemaVersion: Literal[1]
    config: dict[str, Any]


def measure(run: MeasureRun) -> dict[str, Any]:
    """Counts, then tries; what only the server would refuse is told as `unservable`."""
    say({'progress': 'counting the parameters'})
    config = read_config(run.config)
    asked = getattr(config, 'max_position_embeddings', None) or _MAX_CONTEXT
    context = min(asked, _MAX_CONTEXT)
    few, more = (_count(config, size, context) for size in _VOCABULARIES)
    per_token = (more - few) // (_VOCABULARIES[1] - _VOCABULARIES[0])
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        model = _small_copy(config, context)
        _require_causal(model)
        unservable = _try_export(model, Path(folder))
    return {
        'architecture': type(model).__name__,
        'hiddenSize': config.hidden_size,
        'numLayers': config.num_hidden_layers,
        'contextLength': context,
        'tieEmbeddings': per_token < 2 * config.hidden_size,
        'parameters': {'fixed': few - _VOCABULARIES[0] * per_token, 'perToken': per_token},
        'unservable': unservable,
    }


def _count(config: 'PreTrainedConfig', vocab_size: int, context: int) -> int:
    import torch
    from transformers import AutoModelForCausalLM

    settled = settle_config(
        copy.deepcopy(config), vocab_size=vocab_size, context_length=context, end_of_text=0
    )
    try:
        with torch.device('meta'):
            model = AutoModelForCausalLM.from_config(settled)
    except Exception as error:
        # Sizes that do not go together are found by each model in its own way.
        raise ValueError(f'model.config: no model can be made of it: {error}') from error
    return sum(parameter.numel() for parameter in model.parameters())


def _small_copy(config: 'PreTrainedConfig', context: int) -> 'PreTrainedModel':
    """A model like it with two of its layers, which differ from it in nothing that is tried."""
    import torch
    from transformers import AutoModelForCausalLM

    small = settle_config(
        copy.deepcopy(config), vocab_size=_VOCABULARIES[0], context_length=context, end_of_text=0
    )
    small.num_hidden_layers = min(_TRIED_LAYERS, config.num_hidden_layers)
    if isinstance(kinds := getattr(small, 'layer_types', None), list):
        small.layer_types = kinds[: small.num_hidden_layers]
    torch.manual_seed(0)
    try:
        return AutoModelForCausalLM.from_config(small).eval()
    except Exception as error:
        raise ValueError(f'model.config: no model can be made of it: {error}') from error


def _require_causal(model: 'PreTrainedModel') -> None:
    """Refuses a model that would be told the tokens that it must foretell."""
    import torch

    ids = torch.arange(1, _TRIED_TOKENS + 1)[None]
    other = ids.clone()
    other[0, -1] += 1
    with torch.no_grad():
        first, second = (model(input_ids=each).logits[0, :-1] for each in (ids, other))
    if not torch.allclose(first, second, atol=1e-5):
        raise ValueError(
            f'model.config: a {type(model).__name__} of it sees the tokens that follow, '
            'expected a causal model (for some kinds is_decoder: true makes it one)'
        )


def _try_export(model: 'PreTrainedModel', folder: Path) -> str | None:
    """Why it cannot be served; None where it can."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from trainer.export import build_onnx

    source = folder / 'model'
    model.save_pretrained(source)
    words = {END_OF_TEXT: 0, **{f'w{number}': number for number in range(1, 9)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=END_OF_TEXT))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT
    ).save_pretrained(source)
    try:
        build_onnx(source, folder, folder)
        return _compare(model, folder / 'model.onnx')
    except NotImplementedError:
        return f'the ONNX builder does not know a {type(model).__name__}'
    except Exception as error:
        # What it knows, it refuses by errors of every type.
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said = said.replace(str(folder), '…')
        return f'the ONNX builder fails on this {type(model).__name__}: {said}'


def _compare(model: 'PreTrainedModel', file: Path) -> str | None:
    """Asks the exported copy as the server does: with a past, one token after the other."""
    import numpy as np
    import onnxruntime
    import torch

    from trainer.export import cache_shape

    ids = torch.arange(1, _TRIED_TOKENS + 1)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits.numpy()
    session = onnxruntime.InferenceSession(str(file))
    layers, heads, width = cache_shape(model.config)
    pasts = [f'past_key_values.{n}.{part}' for n in range(layers) for part in ('key', 'value')]
    wanted = {'input_ids', 'attention_mask', *pasts}
    found = {each.name for each in session.get_inputs()}
    if found != wanted:
        odd = ', '.join(sorted(found ^ wanted)[:3])
        return f'the server does not know how to feed its ONNX file ({odd})'
    outputs = ['logits', *(past.replace('past_key_values', 'present') for past in pasts)]
    past = {name: np.zeros((1, heads, 0, width), np.float32) for name in pasts}
    for begin, end in ((0, 6), *((at, at + 1) for at in range(6, _TRIED_TOKENS))):
        mask = np.ones((1, end), np.int64)
        feeds = {'input_ids': ids[:, begin:end].numpy(), 'attention_mask': mask, **past}
        logits, *after = session.run(outputs, feeds)
        past = dict(zip(pasts, after, strict=True))
        distance = float(np.abs(logits - expected[:, begin:end]).max())
        if not distance <= _TOLERANCE:
            return f'its ONNX file answers otherwise than PyTorch, by {distance:.3g} a logit'
    return None


if __name__ == '__main__':
    os.environ['HF_HUB_OFFLINE'] = '1'
    run_module(MeasureRun, measure)
