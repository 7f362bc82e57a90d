"""What a model knows beside the documents it was adapted to, before and after: one JSON object.

`python -m bench.support.forgetting --config FILE` with the folders of both models in transformers'
layout. Bits per byte are of plain text in windows; a question is answered by the choice whose words
are likeliest after "Question: … Answer:", as lm-evaluation-harness counts `acc`.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_WINDOW = 512
_BATCH = 32
_END_OF_TEXT = 0


def main() -> None:
    """Scores both models on the same text and the same questions."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    config = json.loads(Path(parser.parse_args().config).read_text('utf-8'))
    torch.set_num_threads(config['threads'])
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=config['tokenizer'])
    text = Path(config['text']).read_text('utf-8')
    tasks = {name: _questions(Path(path), config['questions']) for name, path in config['choices']}
    scores: dict[str, dict[str, Any]] = {}
    for which in ('base', 'adapted'):
        model = LlamaForCausalLM.from_pretrained(config[which], dtype=torch.bfloat16).eval()
        with torch.no_grad():
            scores[which] = {
                'text': _bits_per_byte(model, tokenizer, text, config['tokens']),
                **{name: _choices(model, tokenizer, rows) for name, rows in tasks.items()},
            }
        print(f'{which}: measured', file=sys.stderr, flush=True)
    print(json.dumps(_compare(scores['base'], scores['adapted'], list(tasks))))


def _questions(path: Path, count: int) -> list[dict[str, Any]]:
    lines = path.read_text('utf-8').splitlines()
    return [json.loads(line) for line in lines[:count]]


def _bits_per_byte(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, text: str, limit: int
) -> float:
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    ids, offsets = encoded['input_ids'][:limit], encoded['offset_mapping'][:limit]
    nats = 0.0
    for at in range(0, len(ids), _WINDOW):
        window = torch.tensor([[_END_OF_TEXT, *ids[at : at + _WINDOW]]])
        logits = model(window).logits[0, :-1].float()
        nats += torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction='sum').item()
    return nats / math.log(2) / len(text[: offsets[-1][1]].encode())


def _choices(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: list[dict[str, Any]]
) -> list[bool]:
    """Whether each question was answered right."""
    asked: list[tuple[int, int, list[int], list[int]]] = []
    for at, row in enumerate(rows):
        question = tokenizer.encode(row['query'].rstrip() + '\nAnswer:', add_special_tokens=False)
        for choice, words in enumerate(row['choices']):
            answer = tokenizer.encode(' ' + words, add_special_tokens=False)
            asked.append((at, choice, [_END_OF_TEXT, *question], answer))
    scores: dict[tuple[int, int], float] = {}
    for batch in _batches(sorted(asked, key=lambda one: len(one[2]) + len(one[3]))):
        length = max(len(question) + len(answer) for _, _, question, answer in batch)
        inputs = torch.zeros(len(batch), length, dtype=torch.long)
        for row, (_, _, question, answer) in enumerate(batch):
            inputs[row, : len(question) + len(answer)] = torch.tensor(question + answer)
        hidden = model.model(inputs).last_hidden_state
        for row, (at, choice, question, answer) in enumerate(batch):
            last = len(question) - 1
            scores[at, choice] = _likelihood(model, hidden[row, last : last + len(answer)], answer)
    return [
        max(range(len(row['choices'])), key=lambda choice: scores[at, choice]) == row['gold']
        for at, row in enumerate(rows)
    ]


def _likelihood(model: LlamaForCausalLM, hidden: Tensor, answer: list[int]) -> float:
    logits = model.lm_head(hidden).float().log_softmax(-1)
    return logits.gather(1, torch.tensor(answer)[:, None]).sum().item()


def _batches(asked: list[Any]) -> Iterator[list[Any]]:
    for at in range(0, len(asked), _BATCH):
        yield asked[at : at + _BATCH]


def _compare(base: dict[str, Any], adapted: dict[str, Any], tasks: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {'text': {'before': base['text'], 'after': adapted['text']}}
    for name in tasks:
        pairs = list(zip(base[name], adapted[name], strict=True))
        moved = [int(after) - int(before) for before, after in pairs]
        mean = sum(moved) / len(moved)
        spread = sum((one - mean) ** 2 for one in moved) / (len(moved) - 1)
        told[name] = {
            'before': 100 * sum(before for before, _ in pairs) / len(pairs),
            'after': 100 * sum(after for _, after in pairs) / len(pairs),
            'stderrOfChange': 100 * math.sqrt(spread / len(moved)),
            'count': len(pairs),
        }
    return told


if __name__ == '__main__':
    main()
