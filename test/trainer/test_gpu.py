"""Pretraining on a GPU: refused by name where there is none; where there is one, the same bits."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import MakeRun, Run
from safetensors.torch import load_file

from trainer.config import load_run
from trainer.determinism import restore_rng, rng_tensors
from trainer.device import choose_device, device_memory
from trainer.endings import kind_of
from trainer.launch import environment

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='found no GPU that PyTorch can use'
)
needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason='found a GPU')


def as_launched() -> None:
    """What trainer.launch sets before CUDA is used."""
    os.environ.update(environment(1, Path('/tmp'), 'lo', 'cuda'))


def slow_steps() -> None:
    from test_pretrain import slow_steps as slow

    as_launched()
    slow()


def little_memory() -> None:
    as_launched()
    torch.cuda.set_per_process_memory_fraction(1e-4)


def test_a_cpu_run_is_on_the_cpu_and_its_random_state_has_nothing_of_a_gpu() -> None:
    assert choose_device('cpu') == torch.device('cpu')
    assert device_memory(choose_device('cpu')) is None
    assert list(rng_tensors()) == ['torch']
    before = rng_tensors()
    first = torch.rand(3)
    restore_rng(before)
    assert torch.equal(torch.rand(3), first)


@needs_none
def test_a_recipe_for_gpus_says_what_was_found_where_there_are_none(make_run: MakeRun) -> None:
    result = make_run(device='cuda').finish()
    assert result['type'] == 'InvalidConfig'
    assert 'recipe.device: found 0 GPUs' in result['message']
    assert 'expected at least 1, one for each rank of this host' in result['message']
    assert 'remove device: cuda from the pipeline file' in result['message']


@needs_none
def test_a_rank_without_a_gpu_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOCAL_RANK', '3')
    with pytest.raises(ValueError, match='found 0 GPUs .* expected at least 4'):
        choose_device('cuda')


def test_only_pretraining_runs_on_gpus(make_run: MakeRun) -> None:
    run = make_run(device='gpu')
    file = run.path / 'run.json'
    file.write_text(json.dumps(run.config))
    with pytest.raises(ValueError, match="recipe.device: found 'gpu', expected one of"):
        load_run(str(file), 'pretrain')
    recipe = {**run.config['recipe'], 'phase': 'sft', 'device': 'cuda'}
    for name in ('optimizer', 'adamLearningRate', 'evalEverySteps'):
        del recipe[name]
    run.config |= {'recipe': recipe, 'data': {'kind': 'chat', 'path': 'chats'}}
    file.write_text(json.dumps(run.config))
    with pytest.raises(ValueError, match='found cuda for sft, expected cpu'):
        load_run(str(file), 'sft')


def test_the_ranks_see_gpus_only_where_the_recipe_names_them() -> None:
    cpu, cuda = (environment(2, Path('/tmp'), 'eth1', device) for device in ('cpu', 'cuda'))
    assert cpu['CUDA_VISIBLE_DEVICES'] == ''
    assert 'CUDA_VISIBLE_DEVICES' not in cuda
    assert cuda['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
    assert cuda['NCCL_SOCKET_IFNAME'] == '=eth1'
    assert [name for name in cpu if name.startswith(('NCCL', 'CUBLAS'))] == []


def test_a_gpu_without_room_is_told_as_want_of_memory() -> None:
    error = torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
    assert kind_of(error) == 'OutOfMemory'


@pytest.fixture(scope='module')
def on_gpu(make_run: MakeRun) -> Run:
    """An undisturbed run on a GPU."""
    run = make_run(device='cuda', precision='bf16')
    assert run.finish(as_launched)['ok'] is True
    return run


@needs_gpu
def test_a_gpu_learns_and_tells_its_memory_and_utilisation(on_gpu: Run) -> None:
    losses = on_gpu.losses()
    assert losses[12] < losses[1] - 0.3
    last = on_gpu.events('step')[-1]
    assert last['device_memory'] > 0
    assert 0 < last['mfu'] < 1
    assert on_gpu.events('start')[0]['peak_flops'] > 1e12
    assert set(load_file(on_gpu.path / 'checkpoints' / '12' / 'rng.safetensors')) == {
        'torch',
        'cuda',
    }


@needs_gpu
def test_a_gpu_learns_what_a_cpu_learns_but_for_rounding(make_run: MakeRun, finished: Run) -> None:
    run = make_run(device='cuda')
    assert run.finish(as_launched)['ok'] is True
    for step, loss in finished.losses().items():
        assert math.isclose(run.losses()[step], loss, rel_tol=5e-3), step


@needs_gpu
def test_a_killed_run_on_a_gpu_goes_on_to_the_same_bits(make_run: MakeRun, on_gpu: Run) -> None:
    run = make_run(device='cuda', precision='bf16')
    process = run.start(slow_steps)
    run.wait_for(lambda: 6 in run.checkpoints())
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    newest = run.path / 'checkpoints' / str(run.checkpoints()[-1])
    resumed = make_run(newest, device='cuda', precision='bf16')
    assert resumed.finish(as_launched)['ok'] is True
    for name in ('model', 'optimizer', 'rng'):
        file = Path('checkpoints') / '12' / f'{name}.safetensors'
        assert (resumed.path / file).read_bytes() == (on_gpu.path / file).read_bytes()
    assert {**run.losses(), **resumed.losses()} == on_gpu.losses()
    assert resumed.weights() == on_gpu.weights()


@needs_gpu
def test_a_gpu_that_is_full_ends_as_out_of_memory_with_its_figures(make_run: MakeRun) -> None:
    result = make_run(device='cuda', batchSize=4096).finish(little_memory)
    assert result['type'] == 'OutOfMemory'
    assert 'GiB of the GPU at its peak' in result['message']
