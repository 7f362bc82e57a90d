"""How a phase trains, as config/recipe.ts says it."""

import math
from dataclasses import dataclass
from typing import Literal

from trainer.reading import check


@dataclass(kw_only=True, slots=True)
class Lora:
    """Low-rank adapters around a frozen base; what they add is scaled by alpha / rank.

    Of what they learnt, `mergeShare` is added to the base in the end.
    """

    rank: int
    alpha: float
    mergeShare: float

    def __post_init__(self) -> None:
        check(self.rank > 0, f'recipe.lora.rank: found {self.rank}, expected more than 0')
        check(self.alpha > 0, f'recipe.lora.alpha: found {self.alpha}, expected more than 0')
        check(
            0 < self.mergeShare <= 1,
            f'recipe.lora.mergeShare: found {self.mergeShare}, expected above 0 and at most 1',
        )


@dataclass(kw_only=True, slots=True)
class PhaseRecipe:
    """What every phase shares."""

    seed: int
    numSteps: int
    batchSize: int
    contextLength: int
    learningRate: float
    warmupSteps: int
    decaySteps: int
    weightDecay: float
    gradClip: float
    precision: Literal['fp32', 'bf16']
    worldSize: int
    threads: int
    saveEverySteps: int
    unwatchedExitS: float
    lora: Lora | None = None
    microBatchSize: int | None = None
    parallelism: Literal['ddp', 'fsdp2'] = 'ddp'
    device: Literal['cpu', 'cuda'] = 'cpu'

    def __post_init__(self) -> None:
        for name in (
            'numSteps',
            'batchSize',
            'contextLength',
            'worldSize',
            'threads',
            'saveEverySteps',
        ):
            value = getattr(self, name)
            check(value > 0, f'recipe.{name}: found {value}, expected more than 0')
        for name in ('seed', 'warmupSteps', 'decaySteps', 'weightDecay'):
            value = getattr(self, name)
            check(value >= 0, f'recipe.{name}: found {value}, expected 0 or more')
        for name in ('learningRate', 'gradClip', 'unwatchedExitS'):
            value = getattr(self, name)
            check(
                value > 0 and math.isfinite(value),
                f'recipe.{name}: found {value}, expected a finite number above 0',
            )
        check(
            self.warmupSteps + self.decaySteps <= self.numSteps,
            f'recipe.numSteps {self.numSteps}: fewer than warmupSteps + decaySteps '
            f'({self.warmupSteps} + {self.decaySteps})',
        )
        check(
            self.batchSize % self.worldSize == 0,
            f'recipe.batchSize {self.batchSize}: expected a multiple of worldSize {self.worldSize}',
        )
        check(
            self.microBatchSize is None or self.microBatchSize > 0,
            f'recipe.microBatchSize: found {self.microBatchSize}, expected more than 0',
        )
        check(
            self.parallelism == 'ddp' or self.lora is None,
            'recipe.parallelism: found fsdp2, expected ddp for adapters, whose base is frozen',
        )


@dataclass(kw_only=True, slots=True)
class Rehearsal:
    """Rows of text that the base wrote itself, on which it must go on foretelling the same."""

    numRows: int
    rowLength: int
    rowsAStep: int
    weight: float

    def __post_init__(self) -> None:
        for name in ('numRows', 'rowLength', 'rowsAStep'):
            value = getattr(self, name)
            check(value > 0, f'recipe.rehearsal.{name}: found {value}, expected more than 0')
        check(
            self.weight > 0, f'recipe.rehearsal.weight: found {self.weight}, expected more than 0'
        )


@dataclass(kw_only=True, slots=True)
class Replay:
    """What was trained on before, as a share of the windows."""

    share: float

    def __post_init__(self) -> None:
        check(
            0 < self.share < 1,
            f'recipe.replay.share: found {self.share}, expected above 0 and below 1',
        )


@dataclass(kw_only=True, slots=True)
class PlateauRule:
    """Pretraining ends early when so many evaluations did not lower the loss by such a share."""

    evaluations: int
    leastFall: float

    def __post_init__(self) -> None:
        check(
            self.evaluations > 0,
            f'recipe.plateau.evaluations: found {self.evaluations}, expected more than 0',
        )
        check(
            0 <= self.leastFall < 1,
            f'recipe.plateau.leastFall: found {self.leastFall}, expected 0 or more and below 1',
        )


@dataclass(kw_only=True, slots=True)
class Mask:
    """Share of the tokens that are hidden, and how: by the mask, by another word, or not at all."""

    rate: float
    replaced: float
    redrawn: float

    def __post_init__(self) -> None:
        check(
            0 < self.rate < 1,
            f'recipe.mask.rate: found {self.rate}, expected above 0 and below 1',
        )
        for name in ('replaced', 'redrawn'):
            value = getattr(self, name)
            check(0 <= value <= 1, f'recipe.mask.{name}: found {value}, expected 0 to 1')
        check(
            self.replaced + self.redrawn <= 1,
            f'recipe.mask: found {self.replaced} replaced and {self.redrawn} redrawn, '
            'expected at most 1 together',
        )


@dataclass(kw_only=True, slots=True)
class PretrainRecipe(PhaseRecipe):
    """Pretraining: two rates when Muon moves the matrices; `mask`: of a masked model."""

    phase: Literal['pretrain']
    optimizer: Literal['adamw', 'muon']
    adamLearningRate: float
    evalEverySteps: int
    rehearsal: Rehearsal | None = None
    replay: Replay | None = None
    plateau: PlateauRule | None = None
    mask: Mask | None = None

    def __post_init__(self) -> None:
        PhaseRecipe.__post_init__(self)
        check(self.mask is None or self.lora is None, 'recipe.lora: expected none with a mask')
        check(self.adamLearningRate > 0, 'recipe.adamLearningRate: expected more than 0')
        check(self.evalEverySteps > 0, 'recipe.evalEverySteps: expected more than 0')
        check(
            self.lora is None or self.optimizer == 'adamw',
            f'recipe.optimizer: found {self.optimizer!r}, expected adamw for adapters',
        )
        # Its second pass goes past the wrapper that averages the ranks' gradients.
        check(
            self.rehearsal is None or (self.lora is not None and self.worldSize == 1),
            'recipe.rehearsal: expected adapters, whose base remembers, and worldSize 1',
        )
        check(
            self.rehearsal is None or self.rehearsal.rowLength <= self.contextLength,
            f'recipe.rehearsal.rowLength: expected at most contextLength {self.contextLength}',
        )


@dataclass(kw_only=True, slots=True)
class SftRecipe(PhaseRecipe):
    """Supervised fine-tuning; with `packing` the chats of a batch share rows."""

    phase: Literal['sft']
    packing: bool = False


@dataclass(kw_only=True, slots=True)
class DpoRecipe(PhaseRecipe):
    """Direct preference optimisation."""

    phase: Literal['dpo']
    beta: float

    def __post_init__(self) -> None:
        PhaseRecipe.__post_init__(self)
        check(self.beta > 0, f'recipe.beta: found {self.beta}, expected more than 0')


@dataclass(kw_only=True, slots=True)
class OrpoRecipe(PhaseRecipe):
    """Odds ratio preference optimisation; `beta` weighs the odds ratio against the likelihood."""

    phase: Literal['orpo']
    beta: float

    def __post_init__(self) -> None:
        PhaseRecipe.__post_init__(self)
        check(self.beta > 0, f'recipe.beta: found {self.beta}, expected more than 0')
