"""FSDP2: each rank saves its part; a killed run ends with the same bits, another world goes on."""

import errno
import json
import os
import signal
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import SHAPE, MakeRun, Run
from safetensors.torch import load_file

_RECIPE = {'worldSize': 2, 'parallelism': 'fsdp2', 'numSteps': 8, 'decaySteps': 4}
# Rows that two ranks cannot part equally.
_UNEVEN = {**SHAPE, 'vocabSize': 321, 'intermediateSize': 81}


def be_rank(rank: int, world_size: int, meeting: str) -> None:
    """Gives a process the place that torchrun would give it."""
    place = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': world_size, 'TEMPER_MEETING': meeting}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ['GLOO_SOCKET_IFNAME'] = 'lo'


def _launch(run: Run) -> list[BaseProcess]:
    world_size = run.config['recipe']['worldSize']
    meeting = str(run.path / 'meeting')
    return [run.start(partial(be_rank, rank, world_size, meeting)) for rank in range(world_size)]


def _finish(run: Run) -> dict[str, Any]:
    for process in _launch(run):
        process.join(100)
        assert process.exitcode is not None, 'a rank hangs'
    return json.loads((run.path / 'result.json').read_text())


def _make(make_run: MakeRun, resume: Path | None = None, **recipe: Any) -> Run:
    run = make_run(resume, **{**_RECIPE, **recipe})
    run.config['model'] = _UNEVEN
    run.control()
    return run


def _shards(run: Run, step: int) -> list[dict[str, torch.Tensor]]:
    files = sorted((run.path / 'checkpoints' / str(step)).glob('shard-*'))
    return [load_file(file) for file in files]


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope='module')
def whole(make_run: MakeRun) -> Run:
    """Two ranks with parts of the weights each, undisturbed."""
    run = _make(make_run)
    result = _finish(run)
    assert result['ok'] is True, result
    return run


def test_each_rank_saves_its_part_alone_and_both_are_sealed(whole: Run) -> None:
    folder = whole.path / 'checkpoints' / '8'
    names = ['shard-00001-of-00002.safetensors', 'shard-00002-of-00002.safetensors']
    state = json.loads((folder / 'state.json').read_text())
    assert sorted(path.name for path in folder.iterdir()) == [*names, 'state.json', 'state.sha256']
    assert (sorted(state['files']), state['numShards']) == (names, 2)
    first, second = _shards(whole, 8)
    rows = [part['model:model.embed_tokens.weight'].shape[0] for part in (first, second)]
    assert rows == [161, 160]
    momentum = 'optimizer:model.layers.0.mlp.up_proj.weight:momentum_buffer'
    assert [part[momentum].shape[0] for part in (first, second)] == [41, 40]
    sizes = [state['files'][name]['bytes'] for name in names]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_the_model_is_whole_and_loads_as_any_other(whole: Run) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(whole.path / 'model')
    first, second = _shards(whole, 8)
    name = 'model.embed_tokens.weight'
    joined = torch.cat((first[f'model:{name}'], second[f'model:{name}']))
    assert torch.equal(dict(model.named_parameters())[name], joined)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert len(list((whole.path / 'model').glob('*.safetensors'))) == 1


def test_it_learns_what_ranks_with_all_weights_learn_but_for_rounding(
    make_run: MakeRun, whole: Run
) -> None:
    ddp = _make(make_run, parallelism='ddp')
    assert _finish(ddp)['ok'] is True
    assert whole.losses()[1] == pytest.approx(ddp.losses()[1], rel=1e-6)
    for step, loss in ddp.losses().items():
        assert whole.losses()[step] == pytest.approx(loss, rel=5e-3), step
    evaluated = [run.events('eval')[-1]['val_bpb'] for run in (whole, ddp)]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=5e-3)


def test_a_killed_run_goes_on_to_the_same_bits(make_run: MakeRun, whole: Run) -> None:
    run = _make(make_run)
    ranks = _launch(run)
    run.wait_for(lambda: 3 in run.checkpoints())
    for rank in ranks:
        os.kill(rank.pid or 0, signal.SIGKILL)
        rank.join()
    resumed = _make(make_run, run.path / 'checkpoints' / '3')
    assert _finish(resumed)['ok'] is True
    assert min(resumed.losses()) == 4
    # Weights, optimizer and random numbers of both ranks, and the losses.
    for step in (6, 8):
        assert _bytes_of(resumed.path / 'checkpoints' / str(step)) == _bytes_of(
            whole.path / 'checkpoints' / str(step)
        )
    assert {**run.losses(), **resumed.losses()} == whole.losses()
    assert resumed.weights() == whole.weights()


@pytest.mark.parametrize('world_size', [1, 4])
def test_another_number_of_ranks_finds_its_rows_in_the_shards(
    make_run: MakeRun, whole: Run, world_size: int
) -> None:
    other = _make(make_run, whole.path / 'checkpoints' / '6', worldSize=world_size)
    assert _finish(other)['ok'] is True
    assert sorted(other.losses()) == [7, 8]
    for step, loss in other.losses().items():
        assert loss == pytest.approx(whole.losses()[step], rel=1e-3)
    assert len(_shards(other, 8)) == world_size


def test_a_shard_with_a_flipped_bit_is_refused_by_name(make_run: MakeRun, whole: Run) -> None:
    run = _make(make_run)
    folder = run.path / 'damaged' / '6'
    folder.mkdir(parents=True)
    for name, data in _bytes_of(whole.path / 'checkpoints' / '6').items():
        if name.startswith('shard-00002'):
            data = data[:-1] + bytes([data[-1] ^ 1])
        (folder / name).write_bytes(data)
    run.config['resumeFrom'] = str(folder)
    result = _finish(run)
    assert result['type'] == 'CheckpointIncompatible'
    assert 'shard-00002-of-00002.safetensors has SHA-256' in result['message']


def test_a_stop_waits_until_every_rank_has_saved_in_full_precision(make_run: MakeRun) -> None:
    run = _make(make_run, numSteps=100_000, saveEverySteps=100_000, precision='bf16')
    ranks = _launch(run)
    run.wait_for(lambda: len(run.losses()) > 2)
    run.control(stop=True)
    for rank in ranks:
        rank.join(60)
    result = json.loads((run.path / 'result.json').read_text())
    assert result['type'] == 'Stopped'
    assert run.checkpoints() == [result['step']]
    shards = _shards(run, result['step'])
    assert len(shards) == 2
    floating = [t for part in shards for t in part.values() if t.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {torch.float32}


@pytest.mark.parametrize(
    ('recipe', 'message'),
    [
        ({'lora': {'rank': 4, 'alpha': 8.0, 'mergeShare': 1.0}}, 'expected ddp for adapters'),
        ({'parallelism': 'zero'}, "recipe.parallelism: found 'zero', expected one of"),
    ],
)
def test_what_cannot_be_parted_is_refused(
    make_run: MakeRun, recipe: dict[str, Any], message: str
) -> None:
    from trainer.config import load_run

    run = _make(make_run, **{'optimizer': 'adamw', **recipe})
    run.path.mkdir(parents=True, exist_ok=True)
    (run.path / 'run.json').write_text(json.dumps(run.config))
    with pytest.raises(ValueError, match=message):
        load_run(str(run.path / 'run.json'), 'pretrain')


def test_a_save_that_fails_on_another_host_leaves_nothing_aside(tmp_path: Path) -> None:
    from trainer.boundary import Control
    from trainer.follower import Follower

    (tmp_path / 'checkpoints').mkdir()
    follower = Follower.__new__(Follower)
    follower.run = SimpleNamespace(runDir=str(tmp_path), keepCheckpoints=2)
    follower.step = 3
    follower._reports_to = SimpleNamespace(path=tmp_path, poll=Control, event=lambda *_, **__: None)

    def fill(folder: Path) -> None:
        (folder / 'shard-00002-of-00002.safetensors').write_bytes(b'whole')
        raise OSError(errno.ENOSPC, 'No space left on device')

    follower._fill = fill
    follower._save_part()
    assert list((tmp_path / 'checkpoints').iterdir()) == []
