"""A trial ends its rung, and what goes on from there is the training that never stopped."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeRun, Run

RULE = {'evaluations': 1, 'leastFall': 0.0}


def end_rung(make_run: MakeRun, until: int, resume: Path | None = None, **recipe: Any) -> Run:
    """A trial at the end of its rung."""
    run = make_run(resume, **recipe)
    run.config['untilStep'] = until
    result = run.finish()
    assert (result['ok'], result['type'], result['step']) == (False, 'RungEnded', until)
    assert max(run.checkpoints()) == until
    assert not (run.path / 'model').exists()
    return run


def held_out(run: Run) -> dict[str, float]:
    """The figures by which trials are compared."""
    return json.loads((run.path / 'result.json').read_text())['heldOut']


def newest(run: Run) -> Path:
    """The checkpoint at the end of the rung."""
    return run.path / 'checkpoints' / str(max(run.checkpoints()))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('rungs', [[5], [3, 7]])
def test_what_goes_on_from_its_rungs_has_the_bits_of_a_training_that_never_stopped(
    make_run: MakeRun, finished: Run, rungs: list[int]
) -> None:
    folder: Path | None = None
    losses: dict[int, float] = {}
    for until in rungs:
        rung = end_rung(make_run, until, folder)
        losses |= rung.losses()
        folder = newest(rung)
    last = make_run(folder)
    assert last.finish()['ok'] is True
    assert last.weights() == finished.weights()
    assert losses | last.losses() == finished.losses()
    same = [step for step in finished.checkpoints() if step in last.checkpoints()]
    assert same
    for step in same:
        ours, theirs = (bytes_of(run.path / 'checkpoints' / str(step)) for run in (last, finished))
        assert ours == theirs


def test_a_rung_ends_with_the_loss_of_the_evaluation_at_that_step(
    make_run: MakeRun, finished: Run
) -> None:
    rung = end_rung(make_run, 6)
    (there,) = [event for event in finished.events('eval') if event['step'] == 6]
    assert held_out(rung) == {'loss': there['val_loss'], 'bpb': there['val_bpb']}


def test_who_is_killed_in_a_rung_or_after_its_last_checkpoint_ends_it_with_the_same_loss(
    make_run: MakeRun,
) -> None:
    rung = end_rung(make_run, 5)
    again = end_rung(make_run, 5, rung.path / 'checkpoints' / '3')
    assert bytes_of(newest(again)) == bytes_of(newest(rung))
    # The checkpoint is there, the result was lost: only the held-out text is scored again.
    scored = make_run(newest(rung))
    scored.config['untilStep'] = 5
    assert scored.finish()['type'] == 'RungEnded'
    assert scored.losses() == {}
    assert held_out(scored) == held_out(again) == held_out(rung)


def test_the_loss_of_a_rung_does_not_end_training_on_a_plateau(make_run: MakeRun) -> None:
    plain = make_run(plateau=RULE, evalEverySteps=4)
    assert plain.finish()['ok'] is True
    rung = end_rung(make_run, 3, plateau=RULE, evalEverySteps=4)
    last = make_run(newest(rung), plateau=RULE, evalEverySteps=4)
    assert last.finish()['ok'] is True
    assert last.weights() == plain.weights()


def spoil_the_held_out_text() -> None:
    """Weights that score unseen text as no number."""
    import trainer.pretrain as pretrain

    pretrain.Pretraining.evaluate = lambda self: math.nan  # type: ignore[method-assign]


def test_a_held_out_loss_that_is_no_number_has_diverged(make_run: MakeRun) -> None:
    run = make_run()
    run.config['untilStep'] = 5
    result = run.finish(spoil_the_held_out_text)
    assert result['type'] == 'TrainingDiverged'
    assert result['fault']['kind'] == 'not-finite'


@pytest.mark.parametrize('until', [0, 12, -1])
def test_a_rung_must_end_within_the_training(make_run: MakeRun, until: int) -> None:
    run = make_run()
    run.config['untilStep'] = until
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert f'untilStep: found {until}' in result['message']


def test_sigterm_in_a_rung_saves_and_says_stopped(make_run: MakeRun) -> None:
    run = make_run(numSteps=4000, decaySteps=4)
    run.config['untilStep'] = 3900
    process = run.start()
    run.wait_for(lambda: len(run.events('step')) > 3)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert json.loads((run.path / 'result.json').read_text())['type'] == 'Stopped'
