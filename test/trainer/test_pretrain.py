"""Pretraining: the same bits whatever happens, commands obeyed, failures named."""

import errno
import json
import math
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeRun, Run

from trainer.checkpoint import drop_oldest, saved_steps


def _resume(make_run: MakeRun, run: Run, step: int | None = None, **recipe: object) -> Run:
    """A new run directory that goes on from a checkpoint of another."""
    step = run.checkpoints()[-1] if step is None else step
    return make_run(run.path / 'checkpoints' / str(step), **recipe)


def _lose_disk(times: int) -> None:
    """Makes the next `times` checkpoints fail as on a full disk."""
    import trainer.checkpoint

    real, left = trainer.checkpoint.fsync, [times]

    def fsync(path: Path) -> None:
        if 'checkpoints' in path.parts and left[0] > 0:
            left[0] -= 1
            raise OSError(errno.ENOSPC, 'No space left on device')
        real(path)

    trainer.checkpoint.fsync = fsync


def lose_disk_once() -> None:
    import trainer.saving

    trainer.saving._RETRY_S = 0.0
    _lose_disk(1)


def lose_disk() -> None:
    import trainer.saving

    trainer.saving._RETRY_S = 0.0
    _lose_disk(1000)


def lose_memory() -> None:
    import trainer.pretrain

    def step(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    trainer.pretrain.Pretraining.step = step


def fill_disk() -> None:
    import trainer.saving

    trainer.saving._RETRY_S = 0.0
    real = trainer.saving.shutil.disk_usage

    # Room for one checkpoint (the tiny model's has 0.6 MB), not for two.
    def disk_usage(path: Path) -> object:
        return real(path)._replace(free=800_000)

    trainer.saving.shutil.disk_usage = disk_usage


def bound_disk() -> None:
    import trainer.saving

    real = trainer.saving.shutil.disk_usage

    # Room for five whole checkpoints of 0.6 MB, of which two are asked for before a save.
    def disk_usage(path: Path) -> object:
        used = sum(file.stat().st_size for file in path.rglob('*') if file.is_file())
        return real(path)._replace(free=max(0, 3_000_000 - used))

    trainer.saving.shutil.disk_usage = disk_usage


def speak_always() -> None:
    import trainer.alive

    trainer.alive._EVERY_S = 0.001


def hang_in_preparation() -> None:
    import trainer.alive
    import trainer.objective

    trainer.alive._EVERY_S = 0.05
    real = trainer.objective.build_model

    def build_model(*arguments: object) -> object:
        time.sleep(1.0)
        return real(*arguments)

    trainer.objective.build_model = build_model


def evaluate_a_part() -> None:
    import trainer.pretrain

    trainer.pretrain._MAX_EVALUATED_TOKENS = 160


def no_patience() -> None:
    import trainer.boundary

    trainer.boundary._LOCK_WAIT_S = 0.2


def slow_steps() -> None:
    import trainer.pretrain

    real = trainer.pretrain.Pretraining.step

    def step(self: object, scale: float) -> None:
        time.sleep(0.05)
        real(self, scale)

    trainer.pretrain.Pretraining.step = step


def test_training_learns_and_reports(finished: Run) -> None:
    losses = finished.losses()
    assert sorted(losses) == list(range(1, 13))
    assert losses[12] < losses[1] - 0.3
    steps = finished.events('step')
    assert [event['num_tokens'] for event in steps] == [64 * at for at in range(1, 13)]
    assert [event['step'] for event in finished.events('eval')] == [6, 12]
    assert [event['step'] for event in finished.events('checkpoint')] == [3, 6, 9, 12]
    assert steps[0]['lr'] == pytest.approx(0.01)
    assert steps[5]['lr'] == pytest.approx(0.02)
    assert steps[11]['lr'] == pytest.approx(0.005)


def test_another_run_directory_gives_the_same_bits(make_run: MakeRun, finished: Run) -> None:
    again = make_run()
    result = again.finish()
    assert result['model'] == str(again.path / 'model')
    assert again.losses() == finished.losses()
    assert again.weights() == finished.weights()


def test_another_seed_gives_other_bits(make_run: MakeRun, finished: Run) -> None:
    other = make_run(seed=8)
    assert other.finish()['ok'] is True
    assert other.weights() != finished.weights()


@pytest.mark.parametrize('instant', ['after a checkpoint', 'while saving', 'between'])
def test_a_killed_run_resumes_to_the_same_bits(
    make_run: MakeRun, finished: Run, instant: str
) -> None:
    run = make_run()
    process = run.start(slow_steps)
    partial = run.path / 'checkpoints' / '.6.partial'
    conditions = {
        'after a checkpoint': lambda: 3 in run.checkpoints(),
        'while saving': lambda: partial.exists() or 6 in run.checkpoints(),
        'between': lambda: len(run.events('step')) >= 8,
    }
    run.wait_for(conditions[instant])
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (run.path / 'result.json').exists()
    resumed = _resume(make_run, run)
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == finished.weights()
    expected = finished.losses()
    assert {step: expected[step] for step in run.losses()} == run.losses()
    assert {step: expected[step] for step in resumed.losses()} == resumed.losses()
    assert {**run.losses(), **resumed.losses()} == expected
    assert resumed.events('start')[0]['resumedFrom'].endswith(
        str(resumed.events('start')[0]['step'])
    )


def test_a_run_killed_before_its_result_gives_the_same_result(
    make_run: MakeRun, finished: Run
) -> None:
    resumed = _resume(make_run, finished, 12)
    result = resumed.finish()
    assert resumed.losses() == {}
    assert resumed.weights() == finished.weights()
    first = json.loads((finished.path / 'result.json').read_text())
    assert {**result, 'model': ''} == {**first, 'model': ''}


def test_sigterm_saves_and_the_resumed_run_has_the_same_bits(
    make_run: MakeRun, finished: Run
) -> None:
    run = make_run()
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 4)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    result = json.loads((run.path / 'result.json').read_text())
    assert result['type'] == 'Stopped'
    assert run.checkpoints()[-1] == result['step'] == max(run.losses())
    resumed = _resume(make_run, run)
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == finished.weights()


@pytest.mark.parametrize('damage', ['truncated', 'flipped'])
def test_a_damaged_checkpoint_is_refused(make_run: MakeRun, finished: Run, damage: str) -> None:
    run = make_run()
    folder = run.path / 'damaged'
    shutil.copytree(finished.path / 'checkpoints' / '9', folder)
    file = folder / 'optimizer.safetensors'
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content if damage == 'flipped' else content[:-7])
    run.config['resumeFrom'] = str(folder)
    result = run.finish()
    assert result['type'] == 'CheckpointIncompatible'
    assert 'optimizer.safetensors has' in result['message']
    assert run.events('step') == []


def test_a_checkpoint_of_another_shape_is_refused(make_run: MakeRun, finished: Run) -> None:
    run = _resume(make_run, finished, 9)
    run.config['model'] = {**run.config['model'], 'intermediateSize': 96}
    result = run.finish()
    assert result['type'] == 'CheckpointIncompatible'
    assert 'expected (96, 64)' in result['message']


def test_a_stop_command_saves_and_ends(make_run: MakeRun) -> None:
    run = make_run(numSteps=1000, saveEverySteps=900)
    run.control()
    process = run.start()
    run.wait_for(lambda: len(run.events('step')) >= 2)
    run.control(stop=True)
    process.join(60)
    assert run.checkpoints() == [max(run.losses())]


def test_a_trainer_whose_time_is_over_saves_and_ends_by_itself(make_run: MakeRun) -> None:
    run = make_run(numSteps=100_000, saveEverySteps=90_000)
    run.control(stopAt=time.time() + 3600)
    process = run.start()
    run.wait_for(lambda: len(run.events('step')) >= 2)
    run.control(stopAt=time.time() - 1)
    process.join(60)
    result = json.loads((run.path / 'result.json').read_text())
    assert (result['type'], result['step']) == ('Stopped', run.checkpoints()[-1])
    assert 'its time was over' in result['message']


def test_an_end_makes_the_model_of_its_step_and_training_goes_on_from_there_to_the_same_bits(
    make_run: MakeRun, finished: Run
) -> None:
    ended = _resume(make_run, finished, 6)
    ended.config['endAt'] = 6
    result = ended.finish()
    assert (result['ok'], result['step']) == (True, 6), result
    assert ended.losses() == {}
    assert [event['step'] for event in ended.events('eval')] == [6]
    assert ended.weights() != finished.weights()

    begun = make_run()
    begun.config['endAt'] = 6
    assert begun.finish()['ok'] is True
    assert begun.weights() == ended.weights()
    # At the rates that were planned for all steps.
    expected = finished.losses()
    assert begun.losses() == {step: expected[step] for step in range(1, 7)}
    whole = _resume(make_run, begun, 6)
    assert whole.finish()['ok'] is True
    assert whole.weights() == finished.weights()


def test_an_end_after_the_last_step_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    run.config['endAt'] = 13
    result = run.finish()
    assert result['type'] == 'InvalidConfig'
    assert 'endAt: found 13, expected 1 to recipe.numSteps 12' in result['message']


def test_a_command_with_a_lower_fence_is_ignored(make_run: MakeRun) -> None:
    run = make_run(numSteps=40, saveEverySteps=900)
    run.control(fence=5)
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 2)
    run.control(fence=4, stop=True)
    process.join(60)
    assert max(run.losses()) == 40


def test_a_pause_saves_waits_and_goes_on_to_the_same_bits(make_run: MakeRun, finished: Run) -> None:
    run = make_run()
    run.control(paused=True)
    process = run.start()
    run.wait_for(lambda: len(run.events('paused')) == 1)
    run.control()
    run.wait_for(lambda: len(run.events('step')) >= 2)
    run.control(paused=True)
    process.join(0.8)
    seen = max(run.losses())
    if seen < 12:
        assert process.is_alive()
        assert run.checkpoints()[-1] == seen
    run.control()
    process.join(60)
    assert run.weights() == finished.weights()
    result = json.loads((run.path / 'result.json').read_text())
    assert result['learningRates'] == []


def test_a_pause_is_said_with_its_number_and_said_again_for_the_next_one(make_run: MakeRun) -> None:
    run = make_run(numSteps=40)
    run.control()
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 2)
    run.control(paused=True, pause=3)
    run.wait_for(lambda: len(run.events('paused')) == 1)
    # It may never see that the first one was taken back.
    run.control(paused=True, pause=4)
    run.wait_for(lambda: len(run.events('paused')) == 2)
    run.control(pause=4)
    process.join(60)
    first, second = run.events('paused')
    assert (first['pause'], second['pause']) == (3, 4)
    assert first['step'] == second['step']


def test_save_now_saves_once(make_run: MakeRun) -> None:
    run = make_run(numSteps=60, saveEverySteps=1000)
    run.control(saveNow=3)
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 2)
    run.control(saveNow=4)
    process.join(60)
    saved = [event['step'] for event in run.events('checkpoint')]
    assert len(saved) == 2
    assert 2 <= saved[0] < 60 == saved[1]


def test_a_rate_command_holds_from_its_step_and_after_a_resume(make_run: MakeRun) -> None:
    commands = [{'step': 8, 'scale': 0.25}, {'step': 4, 'scale': 0.5}]
    run = make_run()
    run.control(learningRates=commands)
    run.finish()
    rates = [event['lr'] / 0.02 for event in run.events('step')]
    assert rates[2:9] == pytest.approx([1, 1, 0.5, 0.5, 0.5, 0.5, 0.25])
    resumed = _resume(make_run, run, 6)
    resumed.control(learningRates=commands)
    resumed.finish()
    assert resumed.weights() == run.weights()


def test_a_checkpoint_holds_the_rates_that_made_it_and_none_to_come(make_run: MakeRun) -> None:
    run = make_run()
    run.control(learningRates=[{'step': 4, 'scale': 0.5}, {'step': 6, 'scale': 0.25}])
    run.finish()
    state = json.loads((run.path / 'checkpoints' / '6' / 'state.json').read_text('utf-8'))
    assert state['learningRates'] == [[4, 0.5]]
    resumed = _resume(make_run, run, 6)
    resumed.finish()
    assert resumed.events('step')[-1]['lr'] > run.events('step')[-1]['lr']


def test_a_rate_command_that_comes_late_is_told_with_the_step_from_which_it_held(
    make_run: MakeRun,
) -> None:
    run = make_run(numSteps=40, saveEverySteps=10)
    run.control()
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 6)
    run.control(learningRates=[{'step': 2, 'scale': 0.5}])
    process.join(60)
    halved = [event['step'] for event in run.events('step') if event['lr'] < 0.015]
    began = halved[1] - 1 if halved[0] == 1 else halved[0] - 1
    result = json.loads((run.path / 'result.json').read_text())
    assert began > 2
    assert result['learningRates'] == [[began, 0.5]]
    state = json.loads((run.path / 'checkpoints' / '40' / 'state.json').read_text('utf-8'))
    assert state['learningRates'] == [[began, 0.5]]
    resumed = _resume(make_run, run, 40, numSteps=40)
    resumed.control(learningRates=[{'step': 2, 'scale': 0.5}])
    assert resumed.finish()['learningRates'] == [[began, 0.5]]


def test_acknowledged_checkpoints_are_deleted_but_the_newest_two_stay(make_run: MakeRun) -> None:
    run = make_run()
    run.control(acknowledged=[3, 6, 9, 12])
    run.finish()
    assert run.checkpoints() == [9, 12]


def test_checkpoints_that_nobody_acknowledged_stay(finished: Run) -> None:
    assert finished.checkpoints() == [3, 6, 9, 12]


def test_an_unwatched_trainer_saves_and_exits(make_run: MakeRun, finished: Run) -> None:
    run = make_run(unwatchedExitS=0.3)
    run.control()
    result = run.finish(slow_steps)
    assert result['type'] == 'Unwatched'
    assert result['step'] < 12
    if result['step'] == 0:
        return
    resumed = _resume(make_run, run)
    resumed.finish()
    assert resumed.weights() == finished.weights()


def test_a_loss_that_is_no_number_ends_the_run_as_diverged(make_run: MakeRun) -> None:
    run = make_run()
    run.control(learningRates=[{'step': 0, 'scale': 1e38}])
    result = run.finish()
    assert result['type'] == 'TrainingDiverged'
    assert 'lower the learning rate' in result['message']


def test_a_full_disk_costs_one_save_and_training_goes_on(make_run: MakeRun, finished: Run) -> None:
    run = make_run()
    assert run.finish(lose_disk_once)['ok'] is True
    (failed,) = run.events('save_failed')
    assert failed['step'] == 3
    assert 'No space left' in failed['message']
    assert run.checkpoints() == [4, 6, 9, 12]
    assert run.weights() == finished.weights()


def test_a_disk_that_stays_full_ends_the_run(make_run: MakeRun) -> None:
    run = make_run()
    result = run.finish(lose_disk)
    assert result['type'] == 'DiskFull'
    assert len(run.events('save_failed')) == 3
    assert list((run.path / 'checkpoints').iterdir()) == []


def test_without_room_the_oldest_are_dropped_and_nothing_else_is_lost(
    make_run: MakeRun, finished: Run
) -> None:
    run = make_run(saveEverySteps=1)
    assert run.finish(bound_disk)['ok'] is True
    assert run.events('save_failed') == []
    assert len(run.events('checkpoint')) == 12
    kept = run.checkpoints()
    assert kept == list(range(13 - len(kept), 13))
    assert 2 <= len(kept) <= 4
    assert run.weights() == finished.weights()


def test_what_is_uploaded_is_dropped_first_and_the_newest_never(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        (tmp_path / str(step)).mkdir()
    assert [drop_oldest(tmp_path, [4]) for _ in range(4)] == [4, 2, 6, None]
    assert saved_steps(tmp_path) == [8]


def test_a_save_refuses_to_begin_without_room_for_two_checkpoints(make_run: MakeRun) -> None:
    run = make_run()
    result = run.finish(fill_disk)
    assert result['type'] == 'DiskFull'
    assert str(run.path / 'checkpoints') in result['message']
    assert 'nothing was written; found 0.8 MB free, expected 1.' in result['message']
    assert 'free some space' in result['message']
    assert result['message'].startswith(run.events('save_failed')[-1]['message'])
    assert list((run.path / 'checkpoints').iterdir()) == []


def test_memory_that_runs_out_is_named(make_run: MakeRun) -> None:
    result = make_run().finish(lose_memory)
    assert result['type'] == 'OutOfMemory'
    assert "can't allocate memory" in result['message']
    assert 'the machine has' in result['message']


def test_a_checkpoint_that_is_due_comes_before_the_evaluation(finished: Run) -> None:
    lines = (finished.path / 'events.jsonl').read_text().splitlines()
    order = [event['event'] for event in map(json.loads, lines) if event['step'] == 6]
    assert order == ['step', 'save_started', 'checkpoint', 'working', 'eval']


def test_words_of_work_move_no_bit(make_run: MakeRun, finished: Run) -> None:
    run = make_run()
    run.finish(speak_always)
    said = [event['what'] for event in run.events('working')]
    # 19 windows in batches of 4, twice; less where two parts fall into one millisecond.
    assert 2 <= said.count('evaluating') <= 10
    assert len(said) > len(finished.events('working'))
    assert run.weights() == finished.weights()
    assert run.losses() == finished.losses()
    assert _figures(run) == _figures(finished)


def _figures(run: Run) -> list[float]:
    return [event['val_bpb'] for event in run.events('eval')]


def test_a_preparation_that_stands_still_falls_silent(make_run: MakeRun) -> None:
    run = make_run()
    run.finish(hang_in_preparation)
    (start,) = run.events('start')
    said = [event['at'] for event in run.events('working') if event['what'] == 'preparing']
    assert said
    silence = max(b - a for a, b in zip(said, [*said[1:], start['at']], strict=True))
    assert silence > 0.8


def test_a_large_held_out_set_is_evaluated_in_part(make_run: MakeRun, finished: Run) -> None:
    run = make_run()
    run.finish(evaluate_a_part)
    assert run.weights() == finished.weights()
    assert _figures(run) != _figures(finished)
    assert _figures(run) == pytest.approx(_figures(finished), rel=0.1)


def test_an_evaluation_is_what_the_model_says_of_the_held_out_tokens(finished: Run) -> None:
    from transformers import LlamaForCausalLM

    held_out = finished.config['data']['heldOut']
    tokens = np.fromfile(held_out['path'], '<u2').astype(np.int64)
    model = LlamaForCausalLM.from_pretrained(finished.path / 'model')
    nats = 0.0
    for begin in range(0, len(tokens), 16):
        targets = torch.from_numpy(tokens[begin : begin + 16])
        before = [tokens[begin - 1] if begin else 0, *targets[:-1].tolist()]
        with torch.no_grad():
            logits = model(torch.tensor([before])).logits[0]
        nats += torch.nn.functional.cross_entropy(logits, targets, reduction='sum').item()
    expected = nats / math.log(2) / held_out['bytes']
    assert finished.events('eval')[-1]['val_bpb'] == pytest.approx(expected, rel=1e-4)


def test_shards_that_are_gone_are_an_invalid_corpus(make_run: MakeRun) -> None:
    run = make_run()
    run.config['data'] = {**run.config['data'], 'shards': [{'path': '/none', 'numTokens': 9}]}
    result = run.finish()
    assert result['type'] == 'InvalidCorpus'
    assert 'found no file' in result['message']


def test_a_second_trainer_leaves_the_directory_alone(make_run: MakeRun) -> None:
    run = make_run(numSteps=2000, saveEverySteps=900)
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 1)

    def beginnings() -> list[dict[str, Any]]:
        prepared = [event for event in run.events('working') if event['what'] == 'preparing']
        return prepared + run.events('start')

    begun = beginnings()
    second = run.start(no_patience)
    second.join(60)
    assert second.exitcode == 1
    assert beginnings() == begun
    assert not (run.path / 'result.json').exists()
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_torn_last_line_of_events_spoils_only_itself(make_run: MakeRun) -> None:
    run = make_run()
    (run.path / 'events.jsonl').write_bytes(b'{"event": "st')
    run.finish()
    lines = (run.path / 'events.jsonl').read_bytes().split(b'\n')
    assert lines[0] == b'{"event": "st'
    assert json.loads(lines[1])['event'] == 'working'
