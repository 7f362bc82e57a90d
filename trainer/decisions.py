"""What was decided while a run trained, each from a step on: returns, and smaller micro-batches.

run.json lists them all. A checkpoint names those that had an effect until it was made: equal bits
are equal checkpoints, whatever is decided later.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.reading import check


@dataclass(kw_only=True, slots=True)
class Rollback:
    """A return that was decided: from `step` on another factor; the next batch is `skippedTo`."""

    step: int
    skippedTo: int
    scale: float

    def __post_init__(self) -> None:
        check(
            0 <= self.step < self.skippedTo,
            f'rollbacks: found step {self.step} and skippedTo {self.skippedTo}, '
            'expected a step and a later batch',
        )
        check(
            0 < self.scale <= 1,
            f'rollbacks.scale: found {self.scale}, expected above 0 and at most 1',
        )


@dataclass(kw_only=True, slots=True)
class MicroBatch:
    """A decision for want of memory: from `step` on, at most so many sequences at once."""

    step: int
    size: int

    def __post_init__(self) -> None:
        check(self.step >= 0, f'microBatches.step: found {self.step}, expected 0 or more')
        check(self.size > 0, f'microBatches.size: found {self.size}, expected more than 0')


def rollback_scale(rollbacks: Sequence[Rollback], step: int) -> float:
    """The factor on the rate that the last return to before this step left."""
    due = [rollback.scale for rollback in rollbacks if rollback.step <= step]
    return due[-1] if due else 1.0


def batches_done(rollbacks: Sequence[Rollback], step: int) -> int:
    """How many batches lie behind after so many steps: those trained on, and those skipped."""
    due = [rollback for rollback in rollbacks if rollback.step < step]
    return due[-1].skippedTo + step - due[-1].step if due else step


def next_batch(rollbacks: Sequence[Rollback], step: int) -> int:
    """The batch for the step that starts after so many: past those that are skipped here."""
    return batches_done(rollbacks, step + 1) - 1


def micro_batch(planned: int | None, decided: Sequence[MicroBatch], step: int, rows: int) -> int:
    """How many of a rank's rows the step after `step` steps computes at once."""
    sizes = [each.size for each in decided if each.step <= step]
    return min(rows, sizes[-1] if sizes else planned or rows)


def rollbacks_used(rollbacks: Sequence[Rollback], step: int) -> list[list[float]]:
    """Those that had an effect on the steps before this one, as a checkpoint names them."""
    return [[each.step, each.skippedTo, each.scale] for each in rollbacks if each.step < step]


def micro_batches_used(decided: Sequence[MicroBatch], step: int) -> list[list[int]]:
    """As `rollbacks_used`."""
    return [[each.step, each.size] for each in decided if each.step < step]
