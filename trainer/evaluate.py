"""Scores a served model with lm-evaluation-harness: `python -m trainer.evaluate --config FILE`.

The harness asks our own server through its `local-completions` model, so what is measured is what
is served. What is scored is capped, by place alone, and the outcome says what was left out.
"""

import json
import logging
import math
import os
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.short_lived import run_module, say

_MAX_HELD_OUT_TOKENS = 65_536
_MAX_QUESTIONS = 512
_MAX_PREFERENCES = 256
_MAX_SAMPLES = 20
_MAX_ANSWER_TOKENS = 32
_BATCH_SIZE = 16
_CONCURRENT = 2


@dataclass(kw_only=True, slots=True)
class EvaluateRun:
    """A server and what to ask it."""

    schemaVersion: Literal[1]
    baseUrl: str
    apiKeyFile: str
    modelName: str
    tokenizer: str
    chatTemplate: str
    contextLength: int
    heldOut: str | None
    questions: str | None
    preferences: str | None
    chat: bool
    workDir: str
    output: str

    def __post_init__(self) -> None:
        if self.contextLength < 8:
            raise ValueError(f'contextLength: found {self.contextLength}, expected 8 or more')
        if not (self.heldOut or self.questions or self.preferences):
            raise ValueError('heldOut, questions, preferences: found none, expected at least one')


Row = dict[str, Any]


def read_lines(path: str) -> list[Row]:
    """The objects of a JSON-lines file."""
    with open(path, encoding='utf-8') as lines:
        return [json.loads(line) for line in lines if line.strip()]


def spread(rows: list[Row], limit: int) -> list[Row]:
    """At most `limit` rows, evenly spread, so that no kind of question at the end is left out."""
    if len(rows) <= limit:
        return rows
    return [rows[at * len(rows) // limit] for at in range(limit)]


def plain(text: str) -> str:
    """What counts of an answer: no case, no punctuation, single spaces."""
    text = text.casefold()
    text = ''.join(' ' if c in string.punctuation else c for c in text)
    return re.sub(r'\s+', ' ', text).strip()


def held_out_rows(path: str, tokenizer: Any, limit: int) -> tuple[list[Row], int]:
    """The first documents up to `limit` tokens, the last one cut there; and how many were left."""
    rows: list[Row] = []
    room = limit
    documents = [row['text'] for row in read_lines(path)]
    for text in documents:
        if room <= 0:
            break
        offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)[
            'offset_mapping'
        ]
        if len(offsets) > room:
            text = text[: offsets[room][0]]
        room -= len(offsets)
        if text:
            rows.append({'text': text})
    return rows, len(documents) - len(rows)


def evaluate(run: EvaluateRun) -> dict[str, Any]:
    """Runs the tasks that have data and writes the metrics."""
    os.environ['HF_HOME'] = str(Path(run.workDir) / 'hf')
    logging.disable(logging.WARNING)
    say({'progress': 'loading lm-evaluation-harness'})
    from lm_eval.evaluator import evaluate as evaluate_tasks

    from trainer.chat import load_tokenizer
    from trainer.evaluate_tasks import bits_per_byte_task, preference_task, question_task

    folder = Path(run.workDir) / 'tokenizer'
    template = Path(run.chatTemplate)
    load_tokenizer(run.tokenizer, run.contextLength, template).save_pretrained(folder)
    model = _server_model(run, folder)
    tokenizer = model.tokenizer
    notes: list[str] = []
    tasks: dict[str, Any] = {}
    if run.heldOut is not None:
        rows, left = held_out_rows(run.heldOut, tokenizer, _MAX_HELD_OUT_TOKENS)
        if rows:
            tasks['valBpb'] = bits_per_byte_task(rows)
        if left:
            notes.append(
                f'valBpb: first {_MAX_HELD_OUT_TOKENS} tokens, {left} documents not scored'
            )
    for path, name, limit, make in (
        (run.questions, 'questions.accuracy', _MAX_QUESTIONS, question_task),
        (run.preferences, 'preferences.accuracy', _MAX_PREFERENCES, preference_task),
    ):
        if path is None:
            continue
        rows = read_lines(path)
        chosen = spread(rows, limit)
        if chosen:
            tasks[name] = make(chosen, tokenizer if run.chat else None)
        if len(chosen) < len(rows):
            notes.append(f'{name}: {len(chosen)} of {len(rows)} asked, evenly spread')
    say({'progress': f'scoring {", ".join(tasks)}'})
    results = evaluate_tasks(model, tasks, bootstrap_iters=0, log_samples=True)
    assert results is not None
    samples = results['samples']
    metrics = {name: _metric(name, samples[name]) for name in tasks}
    write_output(run.output, {'metrics': metrics, 'samples': _samples(samples)})
    return {'output': run.output, 'notes': notes}


def _server_model(run: EvaluateRun, tokenizer_folder: Path) -> Any:
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    base = run.baseUrl.rstrip('/')
    base = base if base.endswith('/v1') else f'{base}/v1'
    key = Path(run.apiKeyFile).read_text('utf-8').strip()
    return LocalCompletionsAPI(
        base_url=f'{base}/completions',
        model=run.modelName,
        tokenizer=str(tokenizer_folder),
        tokenizer_backend='huggingface',
        tokenized_requests=True,
        max_length=run.contextLength,
        batch_size=_BATCH_SIZE,
        num_concurrent=_CONCURRENT,
        max_retries=5,
        header={'Authorization': f'Bearer {key}'},
    )


def _metric(name: str, samples: list[Row]) -> dict[str, Any]:
    if name == 'valBpb':
        return ratio_metric([sample['bits_per_byte'] for sample in samples])
    return mean_metric([float(sample['acc']) for sample in samples])


def ratio_metric(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Bits a byte over all documents, from (log likelihood, bytes); error by the delta method."""
    nats, num_bytes = sum(-a for a, _ in pairs), sum(b for _, b in pairs)
    value = nats / math.log(2) / num_bytes
    count = len(pairs)
    error = None
    if count > 1:
        residuals = sum((-a / math.log(2) - value * b) ** 2 for a, b in pairs)
        error = math.sqrt(residuals * count / (count - 1)) / num_bytes
    return {'value': value, 'stderr': error, 'count': count}


def mean_metric(values: list[float]) -> dict[str, Any]:
    """A share, with the standard error of a mean."""
    count = len(values)
    value = sum(values) / count
    error = math.sqrt(value * (1 - value) / (count - 1)) if count > 1 else None
    return {'value': value, 'stderr': error, 'count': count}


def _samples(samples: dict[str, list[Row]]) -> list[Row]:
    asked = sorted(samples.get('questions.accuracy', []), key=lambda sample: sample['doc_id'])
    return [
        {
            'question': sample['doc']['question'],
            'expected': sample['doc']['answer'],
            'answer': sample['filtered_resps'][0].strip(),
        }
        for sample in spread(asked, _MAX_SAMPLES)
    ]


def write_output(path: str, value: object) -> None:
    """Writes JSON; the file appears whole."""
    target = Path(path)
    aside = target.with_name(f'.{target.name}.{os.getpid()}')
    aside.write_text(json.dumps(value, ensure_ascii=False, sort_keys=True), 'utf-8')
    aside.replace(target)


if __name__ == '__main__':
    os.environ['HF_HUB_OFFLINE'] = '1'
    os.environ['HF_DATASETS_OFFLINE'] = '1'
    run_module(EvaluateRun, evaluate)
