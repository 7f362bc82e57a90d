"""The optimizer of pretraining and its schedule: linear warmup, a plateau, linear decay to zero."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer.checkpoint import CheckpointIncompatible
from trainer.recipes import PhaseRecipe, PretrainRecipe
from trainer.sharding import ShardedMuon, local, parted_as

_BETAS = (0.9, 0.95)
_MUON_MOMENTUM = 0.95


def rate_factor(recipe: PhaseRecipe, step: int) -> float:
    """Share of the peak rate in the step that starts after `step` steps are done."""
    if step < recipe.warmupSteps:
        return (step + 1) / recipe.warmupSteps
    left = recipe.numSteps - step
    return left / recipe.decaySteps if left < recipe.decaySteps else 1.0


class PhaseOptimizer:
    """Muon for the matrices of the layers and AdamW for the rest, or AdamW for all."""

    def __init__(self, model: nn.Module, recipe: PretrainRecipe) -> None:
        self._recipe = recipe
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        muon = recipe.optimizer == 'muon'
        matrices = [p for p in parameters if muon and p.ndim == 2 and self._in_a_layer(p)]
        chosen = {id(p) for p in matrices}
        rest = [p for p in parameters if id(p) not in chosen]
        decayed = [p for p in rest if p.ndim >= 2]
        plain = [p for p in rest if p.ndim < 2]
        self._parts: list[tuple[float, torch.optim.Optimizer]] = [
            (
                recipe.adamLearningRate,
                torch.optim.AdamW(
                    [
                        {'params': decayed, 'weight_decay': recipe.weightDecay},
                        {'params': plain, 'weight_decay': 0.0},
                    ],
                    lr=0.0,
                    betas=_BETAS,
                    fused=True,
                ),
            )
        ]
        if matrices:
            kind = ShardedMuon if recipe.parallelism == 'fsdp2' else torch.optim.Muon
            optimizer = kind(
                matrices,
                lr=0.0,
                weight_decay=recipe.weightDecay,
                momentum=_MUON_MOMENTUM,
                adjust_lr_fn='original',
            )
            self._parts.append((recipe.learningRate, optimizer))

    def _in_a_layer(self, parameter: Tensor) -> bool:
        return '.layers.' in self._names[id(parameter)]

    def step(self, factor: float) -> float:
        """One step at this share of the peak rates; returns the rate of the matrices."""
        rate = 0.0
        for peak, optimizer in self._parts:
            rate = peak * factor
            for group in optimizer.param_groups:
                group['lr'] = rate
            optimizer.step()
        return rate

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for _, optimizer in self._parts:
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, flat, by name of parameter and of quantity."""
        return state_tensors([optimizer for _, optimizer in self._parts], self._names)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `tensors` gave."""
        load_state([optimizer for _, optimizer in self._parts], self._names, tensors)


def checkpoint_bytes(model: nn.Module) -> int:
    """About what a checkpoint takes: what is trained and two moments of each, in float32."""
    return 3 * 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)


def state_tensors(
    optimizers: list[torch.optim.Optimizer], names: Mapping[int, str]
) -> dict[str, Tensor]:
    """The state of optimizers as flat tensors; `names` maps a parameter's id to its name."""
    return {
        f'{names[id(parameter)]}:{key}': local(torch.as_tensor(value)).contiguous()
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_state(
    optimizers: list[torch.optim.Optimizer], names: Mapping[int, str], tensors: Mapping[str, Tensor]
) -> None:
    """Restores what `state_tensors` gave."""
    known: dict[str, tuple[dict[str, Any], Tensor]] = {
        names[id(parameter)]: (optimizer.state[parameter], parameter)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for key, value in tensors.items():
        name, _, quantity = key.rpartition(':')
        if name not in known:
            raise CheckpointIncompatible(f'optimizer state of unknown parameter {name}')
        state, parameter = known[name]
        expected = local(parameter).shape
        if value.ndim > 0 and value.shape != expected:
            raise CheckpointIncompatible(
                f'optimizer state of {name}: found shape {tuple(value.shape)}, '
                f'expected {tuple(expected)}'
            )
        # A clone lies aligned in memory; a mapped one may not, and kernels round otherwise then.
        own = value.clone().to(parameter.device)
        state[quantity] = parted_as(parameter, own) if value.ndim > 0 else own
