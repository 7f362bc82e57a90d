"""The lean pass is the same function as transformers' own, with the same gradients."""

from typing import Any

import pytest
import torch
from conftest import SHAPE

from trainer.model import LeanModel, build_model
from trainer.reading import read_object
from trainer.shapes import ModelShape


@pytest.fixture(scope='module')
def windows() -> torch.Tensor:
    return torch.randint(0, 320, (3, 41), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('kv_heads', [2, 4])
@pytest.mark.parametrize(
    'changes',
    [
        {'tieEmbeddings': True},
        {'tieEmbeddings': False},
        {'family': 'qwen2'},
        {'family': 'qwen3'},
        {'family': 'qwen3', 'headDim': 32, 'tieEmbeddings': False},
        {'headDim': 48},
    ],
)
def test_loss_and_gradients_equal_those_of_transformers(
    windows: torch.Tensor, kv_heads: int, changes: dict[str, Any]
) -> None:
    shape = read_object(ModelShape, {**SHAPE, 'numKvHeads': kv_heads, **changes}, 'model')
    model = build_model(shape, 1, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms and biases too, which begin as ones and zeros.
            parameter += 0.1 * torch.randn_like(parameter)
    inputs, targets = windows[:, :-1], windows[:, 1:]
    loss = LeanModel(model, 64, torch.float32)(inputs, targets) / targets.numel()
    loss.backward()
    lean = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits = model(input_ids=inputs).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(lean[name], parameter.grad, atol=1e-5, rtol=1e-3)


def test_targets_below_zero_score_nothing(windows: torch.Tensor) -> None:
    lean = LeanModel(build_model(read_object(ModelShape, SHAPE, 'm'), 1, 0), 64, torch.float32)
    inputs, targets = windows[:, :-1], windows[:, 1:].clone()
    with torch.no_grad():
        whole = lean(inputs, targets)
        parts = torch.zeros(())
        for keep in (torch.arange(40) < 20, torch.arange(40) >= 20):
            parts += lean(inputs, torch.where(keep, targets, -100))
    torch.testing.assert_close(whole, parts, atol=1e-3, rtol=1e-5)


def test_a_seed_decides_the_first_weights() -> None:
    shape = read_object(ModelShape, SHAPE, 'm')
    first, again, other = (build_model(shape, seed, 0).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first['model.embed_tokens.weight'], other['model.embed_tokens.weight'])
