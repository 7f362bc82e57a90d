"""A batch in parts: the same step for less memory, from a decided step on, to the same bits."""

import json
import os
import signal
from pathlib import Path

import pytest
from conftest import MakeRun, Run

from trainer.decisions import MicroBatch, micro_batch
from trainer.memory import parts

HALVED = [{'step': 6, 'size': 2}]


def slow_steps() -> None:
    from test_pretrain import slow_steps as slow

    slow()


def _halved(make_run: MakeRun, resume: Path | None = None) -> Run:
    run = make_run(resume)
    run.config['microBatches'] = HALVED
    return run


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_last_decision_that_has_come_counts_and_never_more_than_there_are_rows() -> None:
    decided = [MicroBatch(step=2, size=4), MicroBatch(step=5, size=1)]
    sizes = [micro_batch(8, decided, step, 16) for step in range(7)]
    assert sizes == [8, 8, 4, 4, 4, 1, 1]
    assert micro_batch(None, [], 3, 16) == 16
    assert micro_batch(32, [], 3, 16) == 16


def test_parts_hold_every_row_once() -> None:
    rows = list(range(7))
    assert [rows[part] for part in parts(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(parts(7, 7)) == [slice(0, 7)]


@pytest.mark.parametrize('size', [1, 3])
def test_parts_make_the_step_of_the_whole_batch_but_for_rounding(
    make_run: MakeRun, finished: Run, size: int
) -> None:
    run = make_run(microBatchSize=size)
    assert run.finish()['ok'] is True
    for step, loss in finished.losses().items():
        assert run.losses()[step] == pytest.approx(loss, rel=2e-3), step
    # The first loss has no history of rounding yet.
    assert run.losses()[1] == pytest.approx(finished.losses()[1], rel=1e-6)


def test_a_part_of_the_whole_batch_is_the_whole_batch_to_the_bit(
    make_run: MakeRun, finished: Run
) -> None:
    run = make_run(microBatchSize=4)
    assert run.finish()['ok'] is True
    assert run.weights() == finished.weights()


def test_a_halved_batch_goes_on_to_the_same_bits_wherever_it_is_killed(
    make_run: MakeRun, finished: Run
) -> None:
    folder = finished.path / 'checkpoints'
    run = _halved(make_run, folder / '6')
    result = run.finish()
    assert (result['ok'], result['microBatches']) == (True, [[6, 2]])
    state = json.loads((run.path / 'checkpoints' / '9' / 'state.json').read_text())
    assert state['microBatches'] == [[6, 2]]
    assert state['cursor'] == 9 * 4

    killed = _halved(make_run, folder / '3')
    process = killed.start(slow_steps)
    killed.wait_for(lambda: 9 in killed.checkpoints())
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    # What was computed before the decision is as it was.
    assert _bytes_of(killed.path / 'checkpoints' / '6') == _bytes_of(folder / '6')
    resumed = _halved(make_run, killed.path / 'checkpoints' / '9')
    assert resumed.finish()['ok'] is True
    last = [run.path / 'checkpoints' / '12', resumed.path / 'checkpoints' / '12']
    assert _bytes_of(last[0]) == _bytes_of(last[1])
    assert resumed.weights() == run.weights()

    other = make_run(run.path / 'checkpoints' / '9')
    refused = other.finish()
    assert refused['type'] == 'CheckpointIncompatible'
    assert 'micro-batches [[6, 2]]' in refused['message']


def test_decisions_that_are_out_of_order_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    run.config['microBatches'] = [*HALVED, {'step': 3, 'size': 1}]
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert 'microBatches: found steps [6, 3]' in result['message']
