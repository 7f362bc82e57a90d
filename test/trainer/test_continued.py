"""Continued pretraining: it begins where its parent ended, and keeps its bits through kills."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MakeRun, Run

# As recipes/continuation.ts plans it: 0.3 of the first peak, re-warmed over the first steps.
CONTINUED = {
    'learningRate': 0.006,
    'adamLearningRate': 0.0009,
    'warmupSteps': 1,
    'saveEverySteps': 3,
    'evalEverySteps': 6,
}


def slow_steps() -> None:
    import trainer.pretrain

    real = trainer.pretrain.Pretraining.step

    def step(self: object, scale: float) -> None:
        time.sleep(0.05)
        real(self, scale)

    trainer.pretrain.Pretraining.step = step


@pytest.fixture(scope='module')
def parent(make_run: MakeRun) -> Run:
    """A model that has learnt the pattern."""
    run = make_run(numSteps=60, decaySteps=30, saveEverySteps=60, evalEverySteps=60)
    assert run.finish()['ok'] is True
    return run


@pytest.fixture(scope='module')
def go_on(make_run: MakeRun, parent: Run) -> Callable[..., Run]:
    """Makes a run that goes on from the parent, on tokens in another order."""

    def make(resume: Path | None = None) -> Run:
        run = make_run(resume, seed=8, **CONTINUED)
        # As a worker lays it there: in the run's own folder, with the files of the model.
        run.config['init'] = str(run.path / 'init')
        shutil.copytree(parent.path / 'model', run.path / 'init')
        return run

    return make


@pytest.fixture(scope='module')
def continued(go_on: Callable[..., Run]) -> Run:
    """An undisturbed one, to compare with."""
    run = go_on()
    assert run.finish()['ok'] is True
    return run


def test_the_loss_starts_near_the_parents_and_not_near_random(parent: Run, continued: Run) -> None:
    random, reached = parent.losses()[1], parent.losses()[60]
    assert reached < random - 1.0
    begun = continued.losses()[1]
    assert abs(begun - reached) < 0.2 * (random - reached)
    assert continued.losses()[12] < reached + 0.1
    assert continued.weights() != parent.weights()


def test_what_the_parent_knew_is_not_lost(parent: Run, continued: Run) -> None:
    before = parent.events('eval')[-1]['val_bpb']
    after = [event['val_bpb'] for event in continued.events('eval')]
    assert len(after) == 2
    assert max(after) < before * 1.05


def test_the_rate_rises_again_to_less_than_the_first_peak(parent: Run, continued: Run) -> None:
    peak = max(event['lr'] for event in continued.events('step'))
    assert peak == pytest.approx(0.3 * max(event['lr'] for event in parent.events('step')))


def test_a_killed_continuation_resumes_to_the_same_bits(
    go_on: Callable[..., Run], continued: Run
) -> None:
    run = go_on()
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 8)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (run.path / 'result.json').exists()
    step = run.checkpoints()[-1]
    assert step >= 3
    resumed = go_on(run.path / 'checkpoints' / str(step))
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == continued.weights()
    assert {**run.losses(), **resumed.losses()} == continued.losses()


def test_a_parent_of_another_shape_is_refused_by_name(go_on: Callable[..., Run]) -> None:
    run = go_on()
    run.config['model'] = {**run.config['model'], 'hiddenSize': 128}
    result = run.finish()
    assert (result['ok'], result['type']) == (False, 'CheckpointIncompatible')
    assert 'expected (320, 128)' in result['message']


def test_with_a_share_of_older_text_it_resumes_to_the_same_bits(
    make_run: MakeRun, parent: Run, continued: Run
) -> None:
    def make(resume: Path | None = None) -> Run:
        run = make_run(resume, seed=8, replay={'share': 0.25}, **CONTINUED)
        older, new = run.config['data']['shards']
        run.config['data'] = {**run.config['data'], 'shards': [new], 'older': [older]}
        run.config['init'] = str(run.path / 'init')
        shutil.copytree(parent.path / 'model', run.path / 'init')
        return run

    whole = make()
    assert whole.finish()['ok'] is True
    # The same text in another order: of other windows.
    assert whole.losses() != continued.losses()
    resumed = make(whole.path / 'checkpoints' / '6')
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == whole.weights()
    assert resumed.losses() == {step: loss for step, loss in whole.losses().items() if step > 6}
