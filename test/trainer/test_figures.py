"""Utilisation by PaLM's formula, the peak that it is a share of, and memory: none of the bits."""

import json
import os
from pathlib import Path

import pytest
import torch
from conftest import SHAPE, MakeRun, Run

from trainer.figures import Figures, flops_of, memory_used
from trainer.model import build_model
from trainer.peak import measure_peak, peak_flops, peak_key
from trainer.shapes import ModelShape

# Of conftest's shape: embedding 320 × 64 and two layers (queries and output 64², keys and values
# 64 × 32, three of 64²) with two norms each, and the last norm.
_LAYER = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 64 + 2 * 64
_WEIGHTS = 320 * 64 + 2 * _LAYER + 64


def _model(**change: object) -> torch.nn.Module:
    return build_model(ModelShape(**{**SHAPE, **change}), 7, 0)  # type: ignore[arg-type]


def test_a_token_takes_6_operations_a_weight_and_12lhq_a_token_of_its_row() -> None:
    assert flops_of(_model()) == (6.0 * _WEIGHTS, 12.0 * 2 * 4 * 16)
    figures = Figures(_model(), peak=1e9)
    assert figures.mfu(num_tokens=64, num_rows=4, seconds=0.5) == pytest.approx(
        64 * (6 * _WEIGHTS + 12 * 2 * 4 * 16 * 16) / 0.5 / 1e9, rel=1e-3
    )


def test_an_embedding_of_its_own_is_looked_up_and_not_multiplied() -> None:
    assert flops_of(_model(tieEmbeddings=False)) == flops_of(_model())


def test_a_frozen_weight_has_no_gradient_and_takes_4_operations() -> None:
    model = _model().requires_grad_(False)
    assert flops_of(model)[0] == 4.0 * _WEIGHTS


def test_without_a_peak_there_is_no_utilisation() -> None:
    assert Figures(_model(), None).mfu(64, 4, 0.5) is None


def test_the_peak_is_measured_once_for_each_precision_and_kept(tmp_path: Path) -> None:
    file = tmp_path / 'peak.json'
    file.write_text(json.dumps({peak_key('cpu', 'fp32', 2): 5e9}))
    assert peak_flops(file, 'cpu', 'fp32', 2) == 5e9
    found = peak_flops(file, 'cpu', 'fp32', 1)
    assert found > 1e9
    kept = json.loads(file.read_text())
    assert kept == {'cpu fp32 2 threads': 5e9, 'cpu fp32 1 threads': found}
    file.write_text('[torn')
    assert peak_flops(file, 'cpu', 'fp32', 1) > 1e9


def test_measuring_leaves_the_random_numbers_of_training_alone() -> None:
    threads = torch.get_num_threads()
    before = torch.get_rng_state()
    measure_peak('cpu', 'fp32', 1)
    torch.set_num_threads(threads)
    assert torch.equal(before, torch.get_rng_state())


def test_memory_is_what_this_process_holds() -> None:
    held = memory_used()
    assert 50e6 < held['memory'] < 50e9
    assert 'device_memory' not in held


def _tell_peak() -> None:
    os.environ['TEMPER_PEAK_FLOPS'] = '1e12'


def test_each_step_tells_utilisation_and_memory_and_the_bits_stay(
    make_run: MakeRun, finished: Run
) -> None:
    run = make_run()
    assert run.finish(_tell_peak)['ok'] is True
    assert run.weights() == finished.weights()
    (start,) = run.events('start')
    assert start['peak_flops'] == 1e12
    assert start['flops_per_token'] == 6 * _WEIGHTS + 12 * 2 * 4 * 16 * 16
    steps = run.events('step')
    assert len(steps) == 12
    for event in steps:
        flops = event['tokens_per_second'] * start['flops_per_token']
        assert event['mfu'] == pytest.approx(flops / 1e12, abs=1e-5)
        assert event['memory'] > 50e6
    assert all('mfu' not in event and event['memory'] > 50e6 for event in finished.events('step'))
