"""What losses say, and how training goes on past batches that spoilt it."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeRun, Run

from trainer.decisions import Rollback, batches_done, next_batch
from trainer.feedback import Fault, HeldOutHistory, LossHistory
from trainer.finetune import CursorSampler
from trainer.recipes import PlateauRule

BACK = [{'step': 6, 'skippedTo': 8, 'scale': 0.5}]


def first_fault(losses: list[float], history: LossHistory | None = None) -> Fault | None:
    """What is found first in a row of losses."""
    history = history or LossHistory()
    for step, loss in enumerate(losses, start=1):
        if (fault := history.see(step, loss, 1.0)) is not None:
            return fault
    return None


def normal_losses(kind: str, seed: int) -> list[float]:
    """As tiny models here have them: noisy falls, fine-tuning on few rows, a rewarmed parent."""
    rng = np.random.default_rng(seed)
    steps = np.arange(600)
    if kind == 'pretraining':
        return list(2 + 5 * np.exp(-steps / 40) + rng.normal(0, 0.15, 600))
    if kind == 'odd batches':
        odd = np.where(rng.random(600) < 0.03, rng.uniform(1, 6, 600), 0)
        return list(2 + 5 * np.exp(-steps / 40) + rng.normal(0, 0.1, 600) + odd)
    if kind == 'fine-tuning':
        # Four short rows a step, most of them known by heart: heavy tails upon almost nothing.
        return list(2 * np.exp(-steps / 50) + rng.lognormal(-3.5, 1.2, 600))
    if kind == 'alignment':
        return list(0.6931 - 0.5 * steps / 600 + rng.normal(0, 0.12, 600))
    # Rewarmed: the loss rises by two thirds of a nat before it falls again (Ibrahim et al. 2024).
    return list(2.6 + 0.65 * np.exp(-(((steps - 60) / 40) ** 2)) + rng.normal(0, 0.1, 600))


@pytest.mark.parametrize(
    'kind', ['pretraining', 'odd batches', 'fine-tuning', 'alignment', 'rewarming']
)
def test_normal_noise_is_no_fault(kind: str) -> None:
    for seed in range(40):
        assert first_fault(normal_losses(kind, seed)) is None, (kind, seed)


def test_losses_that_were_recorded_are_no_fault_and_a_spike_upon_them_is() -> None:
    recorded = json.loads(Path(__file__).with_name('recorded_losses.json').read_text())
    assert len(recorded) == 3
    for kind, losses in recorded.items():
        assert first_fault(losses) is None, kind
        for at in range(100, len(losses), 20):
            spike = [max(losses[at - 64 : at]) + 6.0] * 4
            fault = first_fault([*losses[:at], *spike])
            assert fault is not None, (kind, at)
            assert (fault.kind, fault.first) == ('spike', at + 1)


def test_a_loss_that_stays_far_up_is_a_spike_since_its_first_step() -> None:
    losses = normal_losses('pretraining', 1)[:300]
    fault = first_fault([*losses, 4.4, 5.1, 6.0, 5.7])
    assert fault is not None
    assert (fault.kind, fault.first, fault.step) == ('spike', 301, 304)
    window = losses[-64:]
    mean = sum(window) / 64
    deviation = math.sqrt(sum((loss - mean) ** 2 for loss in window) / 64)
    assert fault.bound == pytest.approx(mean + max(6 * deviation, 1))
    assert fault.found == 4.4
    # One that comes back at once is the subject of one batch.
    assert first_fault([*losses, 6.0, 6.0, 6.0, 2.1, 6.0, 2.0]) is None


def test_a_loss_that_creeps_up_has_diverged_since_its_lowest_level() -> None:
    losses = [2 + max(0, step - 200) * 0.01 for step in range(600)]
    fault = first_fault(losses)
    assert fault is not None
    assert fault.kind == 'divergence'
    assert 64 <= fault.first <= 202
    assert fault.found is not None and fault.bound is not None
    assert fault.found > fault.bound == pytest.approx(3.0)


@pytest.mark.parametrize('figures', [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan)])
def test_what_is_no_number_is_a_fault_at_once(figures: tuple[float, float]) -> None:
    fault = LossHistory().see(1, *figures)
    assert fault is not None
    assert (fault.kind, fault.first, fault.step) == ('not-finite', 1, 1)


def test_what_ends_in_no_number_began_with_its_rise() -> None:
    history = LossHistory()
    assert first_fault([2.0] * 20 + [5.0, 9.0], history) is None
    fault = history.see(23, math.nan, 1.0)
    assert fault is not None
    assert fault.first == 21


@pytest.mark.parametrize('at', [10, 64, 301, 303])
def test_a_history_that_was_saved_finds_the_same(at: int) -> None:
    losses = [*normal_losses('pretraining', 2)[:300], 5.5, 5.0, 6.0, 5.7, 5.7]
    whole, saved = LossHistory(), LossHistory()
    for step, loss in enumerate(losses[:at], start=1):
        whole.see(step, loss, 1.0)
        saved.see(step, loss, 1.0)
    saved = LossHistory.restored(json.loads(json.dumps(saved.state())))
    found = [
        [history.see(step, loss, 1.0) for step, loss in enumerate(losses[at:], start=at + 1)]
        for history in (whole, saved)
    ]
    assert found[0] == found[1]
    assert any(found[0])


def test_batches_are_skipped_from_the_step_that_was_returned_to() -> None:
    rollbacks = [
        Rollback(step=2, skippedTo=5, scale=0.5),
        Rollback(step=4, skippedTo=9, scale=0.25),
    ]
    assert [next_batch(rollbacks, step) for step in range(7)] == [0, 1, 5, 6, 9, 10, 11]
    # A checkpoint at the step itself was made before the jump.
    assert [batches_done(rollbacks, step) for step in range(7)] == [0, 1, 2, 6, 7, 10, 11]
    sampler = CursorSampler(seed=3, num_rows=5, batch_size=2, batches=[0, 1, 5, 6])
    whole = list(CursorSampler(seed=3, num_rows=5, batch_size=2, batches=list(range(7))))
    assert list(sampler) == [*whole[:4], *whole[10:14]]
    assert len(sampler) == 8


def poison_batch_7() -> None:
    """Gradients that are no numbers, of the eighth batch only, whenever it is trained on."""
    import trainer.pretrain as pretrain

    real_batch, real_clip = pretrain.Pretraining._batch, pretrain.nn.utils.clip_grad_norm_
    bad = [False]

    def batch(self: Any) -> Any:
        bad[0] = self.cursor == 7 * self.recipe.batchSize
        return real_batch(self)

    def clip(parameters: Any, limit: float) -> Any:
        parameters = list(parameters)
        if bad[0]:
            for parameter in parameters:
                parameter.grad *= math.nan
        return real_clip(parameters, limit)

    pretrain.Pretraining._batch = batch
    pretrain.nn.utils.clip_grad_norm_ = clip


def poison_slowly() -> None:
    from test_pretrain import slow_steps

    poison_batch_7()
    slow_steps()


def _go_on(make_run: MakeRun, folder: Path | None) -> Run:
    run = make_run(folder)
    run.config['rollbacks'] = BACK
    return run


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_batch_that_spoils_the_gradient_ends_the_trainer_with_what_it_found(
    make_run: MakeRun,
) -> None:
    run = make_run()
    result = run.finish(poison_batch_7)
    assert result['type'] == 'TrainingDiverged'
    assert result['fault'] == {
        'kind': 'not-finite',
        'first': 8,
        'step': 8,
        'found': None,
        'bound': None,
    }
    assert 'gradient norm nan' in result['message']
    # What is no number is no point of a curve.
    assert sorted(run.losses()) == list(range(1, 8))
    assert run.checkpoints() == [3, 6]


def test_training_goes_on_past_it_to_the_same_bits_wherever_it_is_killed(
    make_run: MakeRun, finished: Run
) -> None:
    spoilt = make_run()
    spoilt.finish(poison_batch_7)
    folder = spoilt.path / 'checkpoints'

    run = _go_on(make_run, folder / '6')
    result = run.finish(poison_batch_7)
    assert (result['ok'], result['step']) == (True, 12)
    assert result['rollbacks'] == [[6, 8, 0.5]]
    rates = {event['step']: event['lr'] for event in run.events('step')}
    planned = {event['step']: event['lr'] for event in finished.events('step')}
    assert rates == {step: planned[step] / 2 for step in range(7, 13)}
    # Nothing else is skipped, and nothing trained on twice.
    state = json.loads((run.path / 'checkpoints' / '9' / 'state.json').read_text())
    assert (state['cursor'], state['numTokens']) == (11 * 4, 9 * 64)
    assert state['rollbacks'] == [[6, 8, 0.5]]

    # From before, and killed after it: the checkpoint of the step itself is as it was.
    killed = _go_on(make_run, folder / '3')
    process = killed.start(poison_slowly)
    killed.wait_for(lambda: 9 in killed.checkpoints())
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert _bytes_of(killed.path / 'checkpoints' / '6') == _bytes_of(folder / '6')
    assert _bytes_of(folder / '6') == _bytes_of(finished.path / 'checkpoints' / '6')
    resumed = _go_on(make_run, killed.path / 'checkpoints' / '9')
    assert resumed.finish(poison_batch_7)['ok'] is True
    assert resumed.weights() == run.weights()
    assert resumed.weights() != finished.weights()
    last = [run.path / 'checkpoints' / '12', resumed.path / 'checkpoints' / '12']
    assert _bytes_of(last[0]) == _bytes_of(last[1])

    other = make_run(run.path / 'checkpoints' / '9')
    assert other.finish()['type'] == 'CheckpointIncompatible'


def test_returns_that_are_out_of_order_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    run.config['rollbacks'] = [*BACK, {'step': 3, 'skippedTo': 4, 'scale': 0.25}]
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert 'found steps [6, 3]' in result['message']


RULE = PlateauRule(evaluations=2, leastFall=0.01)


@pytest.mark.parametrize(
    ('losses', 'at'),
    [
        ([4.0, 3.0, 2.99, 2.98], 4),
        ([4.0, 3.0, 3.1, 2.9, 2.8], None),
        # Two in vain, measured against the best before them.
        ([2.0, 3.0, 2.5], 3),
        ([4.0, 3.9], None),
    ],
)
def test_a_plateau_is_so_many_evaluations_that_gain_too_little(
    losses: list[float], at: int | None
) -> None:
    history = HeldOutHistory(RULE, every=10)
    found = [history.see(10 * n, loss, 100) for n, loss in enumerate(losses, start=1)]
    assert [n for n, plateau in enumerate(found, start=1) if plateau is not None] == (
        [] if at is None else [at]
    )
    if at is not None and history.plateau is not None:
        assert (history.plateau.step, history.plateau.end) == (10 * at, 10 * at + 10)


def test_a_plateau_right_before_the_planned_end_changes_nothing() -> None:
    history = HeldOutHistory(RULE, every=10)
    assert [history.see(step, 3.0, 40) for step in (10, 20, 30)] == [None, None, None]


def test_pretraining_ends_soon_after_a_plateau_at_a_falling_rate_and_to_the_same_bits(
    make_run: MakeRun, finished: Run
) -> None:
    # Nothing falls by nine tenths.
    recipe = {'plateau': {'evaluations': 1, 'leastFall': 0.9}, 'evalEverySteps': 2}
    run = make_run(**recipe)
    result = run.finish()
    assert (result['ok'], result['step']) == (True, 6)
    (told,) = run.events('plateau')
    assert (told['step'], told['end']) == (4, 6)
    assert told['found'] > told['bound']
    assert result['plateau'] == {key: told[key] for key in ('step', 'end', 'found', 'bound')}
    assert result['numTokens'] == 6 * 64
    rates = [event['lr'] for event in run.events('step')]
    assert rates == pytest.approx([0.01, 0.02, 0.02, 0.02, 0.02, 0.01])
    assert run.checkpoints()[-1] == 6
    assert run.losses()[4] == finished.losses()[4]

    resumed = make_run(run.path / 'checkpoints' / '3', **recipe)
    again = resumed.finish()
    assert {**again, 'model': ''} == {**result, 'model': ''}
    assert resumed.weights() == run.weights()
