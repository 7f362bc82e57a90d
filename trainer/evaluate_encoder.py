"""Scores a model that embeds text: `python -m trainer.evaluate_encoder --config FILE`.

Hidden words of the held-out text are foretold by the bundle's own model.onnx and the head that was
trained with it; passages are found by their other half through our own server. What is scored is
capped, by place alone.
"""

import json
import math
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainer.data import map_tokens
from trainer.evaluate import mean_metric, write_output
from trainer.recipes import Mask
from trainer.run_data import HeldOut
from trainer.short_lived import run_module, say

Floats = npt.NDArray[np.float32]
_MAX_HELD_OUT_TOKENS = 65_536
_MAX_PASSAGES = 256
_ROWS = 8
_TEXTS = 32
# Of a passage: enough words to say what it is about.
_HALF = 48
# As models of this kind are trained, so that they can be compared.
_MASK = Mask(rate=0.3, replaced=0.8, redrawn=0.1)


@dataclass(kw_only=True, slots=True)
class EvaluateEncoderRun:
    """A bundle, the weights that it was exported from, and the server that serves it."""

    schemaVersion: Literal[1]
    baseUrl: str
    apiKeyFile: str
    modelName: str
    bundle: str
    weights: str
    contextLength: int
    heldOut: HeldOut
    tokenBytes: Literal[2, 4]
    output: str


def evaluate_encoder(run: EvaluateEncoderRun) -> dict[str, Any]:
    """Measures what there is held-out text for, and writes the metrics."""
    from tokenizers import Tokenizer

    from trainer.masking import Hiding
    from trainer.special_tokens import END_OF_TEXT, MASK

    tokenizer = Tokenizer.from_file(str(Path(run.bundle) / 'tokenizer.json'))
    boundary = tokenizer.token_to_id(END_OF_TEXT)
    hiding = Hiding(mask=_MASK, vocabulary=tokenizer.token_to_id(MASK), boundary=boundary)
    metrics: dict[str, Any] = {}
    if run.heldOut.numTokens > 0:
        say({'progress': 'foretelling hidden words'})
        metrics.update(_hidden_words(run, hiding))
        say({'progress': 'finding passages by their other half'})
        found = _passages(run, boundary)
        if found:
            metrics['retrieval.accuracy'] = mean_metric(found)
    write_output(run.output, {'metrics': metrics, 'samples': []})
    return {'output': run.output}


def _hidden_words(run: EvaluateEncoderRun, hiding: Any) -> dict[str, Any]:
    import onnxruntime
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    session = onnxruntime.InferenceSession(
        str(Path(run.bundle) / 'model.onnx'), providers=['CPUExecutionProvider']
    )
    config = json.loads((Path(run.bundle) / 'config.json').read_text('utf-8'))
    weights = {name: tensor.float() for name, tensor in load_file(run.weights).items()}
    words = weights['model.embeddings.tok_embeddings.weight']
    losses: list[float] = []
    hits: list[float] = []
    rows = hiding.held_out_rows(
        run.heldOut, run.tokenBytes, run.contextLength, _ROWS, _MAX_HELD_OUT_TOKENS
    )
    for inputs, places, targets in rows:
        feeds = {'input_ids': inputs.numpy(), 'attention_mask': np.ones_like(inputs.numpy())}
        (states,) = session.run(['last_hidden_state'], feeds)
        index = places[..., None].expand(-1, -1, states.shape[-1])
        hidden = torch.from_numpy(states).gather(1, index).flatten(0, 1)
        normed = F.layer_norm(
            F.gelu(hidden @ weights['head.dense.weight'].T),
            hidden.shape[-1:],
            weights['head.norm.weight'],
            eps=config['norm_eps'],
        )
        logits = normed @ words.T + weights['decoder.bias']
        expected = targets.flatten()
        losses += F.cross_entropy(logits, expected, reduction='none').tolist()
        hits += (logits.argmax(-1) == expected).float().tolist()
    return {'masked.loss': _mean_of(losses), 'masked.accuracy': mean_metric(hits)}


def _mean_of(values: list[float]) -> dict[str, Any]:
    """A mean with its standard error, of any numbers."""
    count = len(values)
    value = math.fsum(values) / count
    spread = math.fsum((each - value) ** 2 for each in values)
    error = math.sqrt(spread / (count - 1) / count) if count > 1 else None
    return {'value': value, 'stderr': error, 'count': count}


def _passages(run: EvaluateEncoderRun, boundary: int) -> list[float]:
    """For each passage, whether its second half is the one nearest to its first."""
    tokens = map_tokens(run.heldOut.path, run.heldOut.numTokens, run.tokenBytes).astype(np.int64)
    half = min(_HALF, run.contextLength - 2)
    whole = len(tokens) // (2 * half)
    passages = tokens[: whole * 2 * half].reshape(whole, 2, half)
    passages = passages[(passages != boundary).all((1, 2))]
    if len(passages) < 2:
        return []
    chosen = min(_MAX_PASSAGES, len(passages))
    passages = passages[[at * len(passages) // chosen for at in range(chosen)]]
    first, second = (_embed(run, passages[:, part].tolist()) for part in (0, 1))
    nearest = (first @ second.T).argmax(1)
    return [float(found == at) for at, found in enumerate(nearest)]


def _embed(run: EvaluateEncoderRun, rows: list[list[int]]) -> Floats:
    base = run.baseUrl.rstrip('/')
    base = base if base.endswith('/v1') else f'{base}/v1'
    key = Path(run.apiKeyFile).read_text('utf-8').strip()
    found: list[list[float]] = []
    for at in range(0, len(rows), _TEXTS):
        body = {'model': run.modelName, 'input': rows[at : at + _TEXTS]}
        request = urllib.request.Request(
            f'{base}/embeddings',
            data=json.dumps(body).encode(),
            headers={'authorization': f'Bearer {key}', 'content-type': 'application/json'},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            answer = json.load(response)
        found += [one['embedding'] for one in answer['data']]
    return np.array(found, dtype=np.float32)


if __name__ == '__main__':
    run_module(EvaluateEncoderRun, evaluate_encoder)
