"""A configuration that does not fit is refused by name, before anything is trained."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeRun

from trainer.config import load_run


def _set(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    *parents, last = path.split('.')
    target = changed
    for name in parents:
        target = target[name]
    target[last] = value
    return changed


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('recipe.lerningRate', 1.0, 'unknown lerningRate'),
        ('recipe.numSteps', 0, 'recipe.numSteps: found 0'),
        ('recipe.numSteps', '12', "recipe.numSteps: found '12', expected int"),
        ('recipe.numSteps', True, 'recipe.numSteps: found True'),
        ('recipe.numSteps', 5, 'fewer than warmupSteps + decaySteps'),
        ('recipe.gradClip', float('inf'), 'recipe.gradClip: found inf'),
        ('recipe.precision', 'fp8', "recipe.precision: found 'fp8'"),
        ('recipe.worldSize', 3, 'expected a multiple of worldSize 3'),
        ('recipe.phase', 'sft', 'unknown'),
        ('recipe.phase', 'rlhf', "recipe.phase: found 'rlhf'"),
        ('recipe.contextLength', 4096, 'expected at most model.contextLength 64'),
        ('model.hiddenSize', 96, 'expected a multiple of 16 times numHeads 4'),
        ('model.numKvHeads', 3, 'expected a multiple of numKvHeads 3'),
        ('data.kind', 'chat', 'unknown'),
        ('data.heldOut.bytes', None, 'data.heldOut.bytes: found None'),
        ('keepCheckpoints', 1, 'keepCheckpoints: expected 2 or more'),
        ('extra', 1, 'unknown extra'),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(
    make_run: MakeRun, tmp_path: Path, path: str, value: Any, message: str
) -> None:
    config = _set(make_run().config, path, value)
    file = tmp_path / 'run.json'
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message.replace('+', r'\+')):
        load_run(str(file), 'pretrain')


def test_a_missing_setting_is_refused_by_its_name(make_run: MakeRun, tmp_path: Path) -> None:
    config = make_run().config
    del config['recipe']['gradClip']
    (tmp_path / 'run.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='gradClip missing'):
        load_run(str(tmp_path / 'run.json'), 'pretrain')


def test_a_right_configuration_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / 'run.json').write_text(json.dumps(make_run().config))
    run = load_run(str(tmp_path / 'run.json'), 'pretrain')
    assert run.recipe.learningRate == 0.02
    assert run.data.kind == 'tokens'


def test_a_refused_configuration_leaves_a_result(make_run: MakeRun) -> None:
    result = make_run(numSteps=-1).finish()
    assert result['ok'] is False
    assert result['type'] == 'InvalidConfig'
    assert 'recipe.numSteps: found -1' in result['message']
