"""LoRA around a model that exists: what moves, what is saved and merged; kills change nothing."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import MakeRun, Run
from safetensors.torch import load_file
from test_continued import slow_steps

LORA = {'rank': 4, 'alpha': 8, 'mergeShare': 0.5}
ADAPTED = {'optimizer': 'adamw', 'learningRate': 0.02, 'adamLearningRate': 0.02, 'lora': LORA}
TEMPLATE = '{{ messages[0].content }}'


@pytest.fixture(scope='module')
def base(make_run: MakeRun) -> Run:
    """A model that has half learnt the pattern, and chats."""
    run = make_run(numSteps=6, decaySteps=2, saveEverySteps=6, evalEverySteps=6)
    assert run.finish()['ok'] is True
    (run.path / 'model' / 'chat_template.jinja').write_text(TEMPLATE)
    return run


@pytest.fixture(scope='module')
def adapt(make_run: MakeRun, base: Run) -> Callable[..., Run]:
    """Makes a run that adapts the base."""

    def make(resume: Path | None = None, **recipe: object) -> Run:
        run = make_run(resume, **{**ADAPTED, **recipe})
        run.config['init'] = str(run.path / 'init')
        shutil.copytree(base.path / 'model', run.path / 'init')
        return run

    return make


@pytest.fixture(scope='module')
def adapted(adapt: Callable[..., Run]) -> Run:
    run = adapt()
    assert run.finish()['ok'] is True
    return run


def tensors(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / 'model' / 'model.safetensors')


def test_held_out_text_becomes_likelier_and_the_result_says_from_what_to_what(
    base: Run, adapted: Run
) -> None:
    import json

    result = json.loads((adapted.path / 'result.json').read_text())
    was = base.events('eval')[-1]['val_bpb']
    assert result['valBpbBefore'] == pytest.approx(was, rel=1e-5)
    assert result['valBpb'] < result['valBpbBefore'] - 0.02


def test_a_checkpoint_holds_the_adapters_alone(adapted: Run) -> None:
    step = adapted.checkpoints()[-1]
    saved = load_file(adapted.path / 'checkpoints' / str(step) / 'model.safetensors')
    assert saved and all('.lora_' in name for name in saved)
    assert sum(t.numel() for t in saved.values()) < sum(
        t.numel() for t in tensors(adapted).values()
    )


def test_the_model_has_the_bases_own_tensors_and_only_projections_moved(
    base: Run, adapted: Run
) -> None:
    before, after = tensors(base), tensors(adapted)
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) is ('_proj' not in name), name
    assert (adapted.path / 'model' / 'chat_template.jinja').read_text() == TEMPLATE


def test_half_a_share_adds_half_of_what_the_whole_adds(
    adapt: Callable[..., Run], base: Run, adapted: Run
) -> None:
    whole = adapt(lora={**LORA, 'mergeShare': 1})
    assert whole.finish()['ok'] is True
    before, half, full = tensors(base), tensors(adapted), tensors(whole)
    for name, tensor in before.items():
        torch.testing.assert_close(half[name] - tensor, (full[name] - tensor) / 2)


def test_a_killed_adaptation_resumes_to_the_same_bits(
    adapt: Callable[..., Run], adapted: Run
) -> None:
    run = adapt()
    process = run.start(slow_steps)
    run.wait_for(lambda: len(run.events('step')) >= 8)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (run.path / 'result.json').exists()
    resumed = adapt(run.path / 'checkpoints' / str(run.checkpoints()[-1]))
    assert resumed.finish()['ok'] is True
    assert resumed.weights() == adapted.weights()
    assert {**run.losses(), **resumed.losses()} == adapted.losses()


def test_adapters_without_a_base_are_refused(make_run: MakeRun) -> None:
    result = make_run(**ADAPTED).finish()
    assert (result['ok'], result['type']) == (False, 'InvalidConfig')
    assert 'adapters need a base' in result['message']


def test_adapters_are_trained_by_adamw_alone(make_run: MakeRun) -> None:
    result = make_run(**{**ADAPTED, 'optimizer': 'muon'})
    process = result.start()
    process.join(60)
    assert process.exitcode != 0
