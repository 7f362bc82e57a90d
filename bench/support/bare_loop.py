"""A bare PyTorch loop around transformers' Llama, as anybody would write it: one JSON object.

`python -m bench.support.bare_loop --config FILE`. Shape, precision, batch and
optimizers are those of a recipe of ours; nothing is saved, reported or resumed.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


def build(shape: dict[str, Any]) -> LlamaForCausalLM:
    """The model of a shape, as transformers initialises it."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape['vocabSize'],
            hidden_size=shape['hiddenSize'],
            intermediate_size=shape['intermediateSize'],
            num_hidden_layers=shape['numLayers'],
            num_attention_heads=shape['numHeads'],
            num_key_value_heads=shape['numKvHeads'],
            max_position_embeddings=shape['contextLength'],
            tie_word_embeddings=shape['tieEmbeddings'],
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )
    )


def optimizers_of(model: nn.Module, recipe: dict[str, Any]) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers where the recipe says so, AdamW for the rest."""
    named = list(model.named_parameters())
    muon = recipe['optimizer'] == 'muon'
    matrices = [p for name, p in named if muon and p.ndim == 2 and '.layers.' in name]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen]
    decay = recipe['weightDecay']
    adam = torch.optim.AdamW(rest, lr=recipe['adamLearningRate'], weight_decay=decay, fused=True)
    if not matrices:
        return [adam]
    return [adam, torch.optim.Muon(matrices, lr=recipe['learningRate'], weight_decay=decay)]


def measure(config: dict[str, Any]) -> dict[str, float]:
    """Tokens a second, without the first steps."""
    recipe = config['recipe']
    torch.set_num_threads(recipe['threads'])
    torch.manual_seed(recipe['seed'])
    tokens = np.memmap(config['tokens'], dtype='<u2', mode='r')
    model = build(config['model'])
    optimizers = optimizers_of(model, recipe)
    batch, length = recipe['batchSize'], recipe['contextLength']
    began = 0.0
    for step in range(recipe['numSteps']):
        if step == config['skipSteps']:
            began = time.perf_counter()
        starts = np.random.randint(0, len(tokens) - length - 1, batch)
        rows = np.stack([tokens[at : at + length + 1] for at in starts]).astype(np.int64)
        windows = torch.from_numpy(rows)
        with torch.autocast('cpu', torch.bfloat16, enabled=recipe['precision'] == 'bf16'):
            logits = model(windows[:, :-1]).logits
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), windows[:, 1:].flatten()
            )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe['gradClip'])
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        loss.item()
    steps = recipe['numSteps'] - config['skipSteps']
    return {'tokensPerSecond': steps * batch * length / (time.perf_counter() - began)}


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    print(json.dumps(measure(json.loads(Path(parser.parse_args().config).read_text('utf-8')))))
