"""nanoGPT's recipe for a laptop's CPU, rebuilt on transformers' GPT-2: a JSON line an evaluation.

`python -m bench.support.nanogpt --config FILE`. Shape, batch, rates and schedule are those that
nanoGPT's README and its train_shakespeare_char.py give; the loop is a bare PyTorch one. Held-out
text is scored in the windows of our trainer, and the time of that is told apart.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from trainer.data import held_out_windows
from trainer.run_data import HeldOut

_LAYERS, _HEADS, _WIDTH, _CONTEXT, _BATCH = 4, 4, 128, 64, 12
_RATE, _LEAST_RATE, _WARMUP, _WEIGHT_DECAY, _BETAS, _CLIP = 1e-3, 1e-4, 100, 0.1, (0.9, 0.99), 1.0
_SCORED_AT_ONCE = 64


def rate(step: int, steps: int) -> float:
    """Linear warmup, then a cosine to a tenth."""
    if step < _WARMUP:
        return _RATE * step / _WARMUP
    done = (step - _WARMUP) / max(1, steps - _WARMUP)
    return _LEAST_RATE + 0.5 * (1 + math.cos(math.pi * done)) * (_RATE - _LEAST_RATE)


def build(vocab_size: int) -> GPT2LMHeadModel:
    """The shape; transformers initialises a GPT-2 as nanoGPT does, projections scaled by depth."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocab_size,
            n_positions=_CONTEXT,
            n_embd=_WIDTH,
            n_layer=_LAYERS,
            n_head=_HEADS,
            activation_function='gelu',
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def optimizer_of(model: GPT2LMHeadModel) -> torch.optim.AdamW:
    """AdamW that decays what is multiplied, not biases and norms."""
    parameters = list(model.parameters())
    groups = [
        {'params': [p for p in parameters if p.ndim >= 2], 'weight_decay': _WEIGHT_DECAY},
        {'params': [p for p in parameters if p.ndim < 2], 'weight_decay': 0.0},
    ]
    return torch.optim.AdamW(groups, lr=_RATE, betas=_BETAS)


def random_batch(tokens: np.ndarray) -> tuple[Tensor, Tensor]:
    """Windows from anywhere in the text, drawn with replacement."""
    starts = torch.randint(len(tokens) - _CONTEXT, (_BATCH,)).tolist()
    windows = np.stack([tokens[at : at + _CONTEXT + 1] for at in starts]).astype(np.int64)
    rows = torch.from_numpy(windows)
    return rows[:, :-1], rows[:, 1:]


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, held_out: HeldOut) -> float:
    """Mean nats a character over all of the held-out text."""
    nats, scored = 0.0, 0
    windows = held_out_windows(held_out, 2, _CONTEXT, 0, _SCORED_AT_ONCE, held_out.numTokens)
    for inputs, targets in windows:
        logits = model(torch.from_numpy(inputs)).logits
        flat = torch.from_numpy(targets).flatten()
        nats += F.cross_entropy(logits.flatten(0, 1), flat, reduction='sum').item()
        scored += int((flat >= 0).sum())
    return nats / scored


def train(config: dict[str, Any]) -> None:
    """Trains for so many steps; `seconds` of a line count training alone."""
    torch.set_num_threads(config['threads'])
    torch.manual_seed(config['seed'])
    tokens = np.fromfile(config['train'], dtype='<u2')
    held_out = HeldOut(**config['heldOut'])
    model = build(config['vocabSize'])
    optimizer = optimizer_of(model)
    steps, every = config['numSteps'], config['evalEverySteps']
    inputs, targets = random_batch(tokens)
    seconds, since = 0.0, time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group['lr'] = rate(step, steps)
        logits = model(inputs).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        inputs, targets = random_batch(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % every and step + 1 < steps:
            continue
        seconds += time.perf_counter() - since
        line = {
            'step': step + 1,
            'numTokens': (step + 1) * _BATCH * _CONTEXT,
            'valLoss': held_out_loss(model, held_out),
            'seconds': seconds,
            'numParameters': sum(p.numel() for p in model.parameters()) - _CONTEXT * _WIDTH,
        }
        print(json.dumps(line), flush=True)
        since = time.perf_counter()


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    train(json.loads(Path(parser.parse_args().config).read_text('utf-8')))
