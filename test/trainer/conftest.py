"""Tiny runs, each in a process of its own: forked from one that has imported everything already."""

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.update(
    {
        'HF_HUB_OFFLINE': '1',
        'ORT_DISABLE_TELEMETRY': '1',
        'TOKENIZERS_PARALLELISM': 'false',
        'OMP_NUM_THREADS': '1',
        'TRL_EXPERIMENTAL_SILENCE': '1',
    }
)
PROJECT = Path(__file__).resolve().parents[2]
_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(['trainer.pretrain', 'trainer.lean_trainers', 'trainer.lean_orpo'])

SHAPE = {
    'family': 'llama',
    'vocabSize': 320,
    'hiddenSize': 64,
    'intermediateSize': 64,
    'numLayers': 2,
    'numHeads': 4,
    'numKvHeads': 2,
    'contextLength': 64,
    'ropeTheta': 10000.0,
    'tieEmbeddings': True,
}
RECIPE = {
    'seed': 7,
    'numSteps': 12,
    'batchSize': 4,
    'contextLength': 16,
    'learningRate': 0.02,
    'warmupSteps': 2,
    'decaySteps': 4,
    'weightDecay': 0.01,
    'gradClip': 1.0,
    'precision': 'fp32',
    'worldSize': 1,
    'threads': 1,
    'saveEverySteps': 3,
    'unwatchedExitS': 600,
}
PRETRAIN = {
    **RECIPE,
    'phase': 'pretrain',
    'optimizer': 'muon',
    'adamLearningRate': 0.003,
    'evalEverySteps': 6,
}


def _child(phase: str, config: str, prepare: Callable[[], None] | None) -> None:
    sys.argv = ['trainer', '--config', config]
    sys.stderr = open(os.devnull, 'w')  # noqa: SIM115
    sys.stdout = sys.stderr
    if prepare is not None:
        prepare()
    module = __import__(f'trainer.{phase}', fromlist=[phase])
    from trainer.phase import run_phase

    run_phase(phase, getattr(module, phase))


@dataclass
class Run:
    """A run directory and what stands in it."""

    path: Path
    config: dict[str, Any]

    def start(self, prepare: Callable[[], None] | None = None) -> BaseProcess:
        """Starts the trainer and returns its process."""
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / 'run.json'
        file.write_text(json.dumps(self.config))
        phase = self.config['recipe']['phase']
        process = _CONTEXT.Process(target=_child, args=(phase, str(file), prepare))
        process.start()
        return process

    def finish(self, prepare: Callable[[], None] | None = None) -> dict[str, Any]:
        """Runs to the end and returns result.json."""
        process = self.start(prepare)
        process.join(100)
        assert process.exitcode is not None, 'the trainer hangs'
        return json.loads((self.path / 'result.json').read_text())

    def control(self, **commands: Any) -> None:
        """Rewrites control.json whole."""
        value = {
            'schemaVersion': 1,
            'fence': 1,
            'paused': False,
            'stop': False,
            'saveNow': 0,
            'learningRates': [],
            'acknowledged': [],
            **commands,
        }
        self.path.mkdir(parents=True, exist_ok=True)
        aside = self.path / '.control'
        aside.write_text(json.dumps(value))
        aside.rename(self.path / 'control.json')

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in order."""
        file = self.path / 'events.jsonl'
        lines = file.read_bytes().split(b'\n')[:-1] if file.exists() else []
        return [event for event in map(json.loads, lines) if event['event'] == kind]

    def losses(self) -> dict[int, float]:
        """The loss of every step, the last one that was said."""
        return {event['step']: event['loss'] for event in self.events('step')}

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition holds."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, 'waited 60 s'
            time.sleep(0.005)

    def checkpoints(self) -> list[int]:
        """Steps of the whole checkpoints on disk."""
        folder = self.path / 'checkpoints'
        return sorted(int(p.name) for p in folder.glob('*') if p.name.isdigit())

    def weights(self) -> str:
        """SHA-256 of the trained model."""
        return hashlib.sha256((self.path / 'model' / 'model.safetensors').read_bytes()).hexdigest()


@pytest.fixture(scope='session')
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Token shards with a pattern that can be learnt."""
    folder = tmp_path_factory.mktemp('tokens')
    rng = np.random.default_rng(0)
    stream = (np.arange(3000) * 7 % 97 + rng.integers(0, 3, 3000)).astype('<u2')
    parts = {'a': stream[:1000], 'b': stream[1000:2700], 'held': stream[2700:]}
    for name, part in parts.items():
        part.tofile(folder / name)
    return {
        'kind': 'tokens',
        'shards': [
            {'path': str(folder / 'a'), 'numTokens': 1000},
            {'path': str(folder / 'b'), 'numTokens': 1700},
        ],
        'tokenBytes': 2,
        'heldOut': {'path': str(folder / 'held'), 'numTokens': 300, 'bytes': 900},
    }


@pytest.fixture(scope='session')
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tokenizer of the tiny shape's vocabulary."""
    from trainer.tokenizer import TokenizerRun, train_tokenizer

    folder = tmp_path_factory.mktemp('tokenizer')
    text = 'Who spoke in {year}? Abraham Lincoln spoke of the union and of its state in {year}.'
    lines = [json.dumps({'text': text.format(year=year)}) for year in range(1800, 1900)]
    (folder / 'text.jsonl').write_text('\n'.join(lines))
    output = str(folder / 'tokenizer.json')
    run = TokenizerRun(
        schemaVersion=1, inputs=[str(folder / 'text.jsonl')], vocabSize=320, output=output
    )
    train_tokenizer(run)
    return output


def chatml_tokenizer(tokenizer: str, folder: Path) -> str:
    """The same tokenizer with the tokens of ChatML in place of ours."""
    text = Path(tokenizer).read_text('utf-8')
    for ours, theirs in (
        ('<|user|>', '<|im_start|>'),
        ('<|assistant|>', '<|unused|>'),
        ('<|end|>', '<|im_end|>'),
    ):
        text = text.replace(ours, theirs)
    file = folder / 'chatml-tokenizer.json'
    file.write_text(text, 'utf-8')
    return str(file)


MakeRun = Callable[..., Run]


@pytest.fixture(scope='session')
def make_run(
    tmp_path_factory: pytest.TempPathFactory, tokens: dict[str, Any], tokenizer: str
) -> MakeRun:
    """Makes a pretraining run, with changes to its recipe."""

    def make(resume: Path | None = None, **recipe: Any) -> Run:
        path = tmp_path_factory.mktemp('run')
        config = {
            'schemaVersion': 1,
            'runDir': str(path),
            'recipe': {**PRETRAIN, **recipe},
            'model': SHAPE,
            'tokenizer': tokenizer,
            'init': None,
            'data': tokens,
            'resumeFrom': None if resume is None else str(resume),
        }
        return Run(path, config)

    return make


@pytest.fixture(scope='session')
def finished(make_run: MakeRun) -> Iterator[Run]:
    """An undisturbed pretraining run, to compare with."""
    run = make_run()
    assert run.finish()['ok'] is True
    yield run
