"""What every rank of a training has: where it stands, what was decided, and what all agree on.

A phase gives a `Session`; pretraining drives it from its own loop, fine-tuning from a callback.
Rank 0 has a `Leader`, the others a `Follower`.
"""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trainer.config import TrainerRun
from trainer.decisions import Rollback, batches_done, micro_batch, next_batch
from trainer.feedback import HeldOutHistory, Plateau
from trainer.memory import note_rows
from trainer.recipes import PretrainRecipe

# What ranks agree on between two steps is a factor on the rate, or one of these, the lowest first.
# Any rank may wish to leave; rank 0 alone says when to wait, to save a part, and to end.
END, SAVE, LEAVE, WAIT = -3.0, -2.0, -1.0, 0.0

Fill = Callable[[Path], dict[str, Any] | None]


def _alone(value: float) -> float:
    return value


class Session(ABC):
    """One rank's training run, step by step."""

    # Of the step that was begun last; packed chats fill fewer rows than there are chats.
    rows_at_once: int | None = None

    def __init__(self, run: TrainerRun) -> None:
        self.run = run
        self.step = 0
        self.num_tokens = 0
        self.loss = 0.0
        self._sync = self._lowest = _alone
        self._terminated = False
        self._held_out = _held_out_history(run)
        self._clock = time.monotonic()
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    @abstractmethod
    def resume(self) -> dict[str, Any] | None:
        """Verifies the checkpoint to start from; returns its state, or None at the beginning."""

    @abstractmethod
    def weighs(self, model: Any, scored_share: float = 1.0) -> None:
        """Counts what a step of this model computes, for its utilisation of the machine.

        Of its tokens so many are turned into words.
        """

    @abstractmethod
    def started(
        self, fill: Fill, cursor: Callable[[], int], checkpoint_bytes: int, parted: bool = False
    ) -> None:
        """Says that training begins.

        `fill` writes a checkpoint's tensors, about so many bytes; `cursor` tells its place. Where
        it is `parted`, every rank writes a part of each at the same time.
        """

    @abstractmethod
    def turn(self) -> float:
        """Between two steps: obeys; returns the factor on the rate for the step that starts now."""

    @abstractmethod
    def stepped(self, *, loss: float, lr: float, grad_norm: float, num_tokens: int) -> None:
        """Reports one optimizer step."""

    @abstractmethod
    def event(self, event: str, **facts: object) -> None:
        """Reports something at this step, where this rank has whom to report to."""

    @abstractmethod
    def end_rung(self, held_out_loss: float, val_bpb: float | None) -> None:
        """Ends where run.json says, saved, with the loss that trials are compared by."""

    @abstractmethod
    def finish(
        self,
        save_model: Callable[[Path], None],
        val_bpb: float | None,
        val_bpb_before: float | None = None,
    ) -> None:
        """Writes the model and the result, the latter last."""

    def share(self, sync: Callable[[float], float], lowest: Callable[[float], float]) -> None:
        """Sets how rank 0's decisions reach the others, and how all learn of the lowest value."""
        self._sync, self._lowest = sync, lowest

    @property
    def _rollbacks(self) -> list[Rollback]:
        return self.run.rollbacks or []

    def next_batch(self) -> int:
        """Number of the batch for the step that starts now: past those that are skipped."""
        return next_batch(self._rollbacks, self.step)

    def batches(self, steps: Iterable[int]) -> list[int]:
        """As `next_batch`, for the step after each of these."""
        return [next_batch(self._rollbacks, step) for step in steps]

    def batches_done(self) -> int:
        """How many batches lie behind."""
        return batches_done(self._rollbacks, self.step)

    def micro_batch(self, rows: int) -> int:
        """How many of a rank's rows the step that starts now computes at once."""
        decided = self.run.microBatches or []
        size = micro_batch(self.run.recipe.microBatchSize, decided, self.step, rows)
        if size != self.rows_at_once:
            self.rows_at_once = size
            note_rows(Path(self.run.runDir), size)
        return size

    @property
    def plateau(self) -> Plateau | None:
        """Where the held-out loss was found to fall no more."""
        return None if self._held_out is None else self._held_out.plateau

    @property
    def num_steps(self) -> int:
        """Steps of this phase: the recipe's, or fewer where nothing more is gained or paid for."""
        planned = self.run.recipe.numSteps if self.plateau is None else self.plateau.end
        return planned if self.run.endAt is None else min(planned, self.run.endAt)

    def evaluated(self, held_out_loss: float) -> None:
        """Ends the phase early when evaluations on the way say so; every rank is told the same."""
        if self._held_out is None:
            return
        loss = self._sync(held_out_loss)
        found = self._held_out.see(self.step, loss, self.run.recipe.numSteps)
        if found is not None:
            facts = found.facts()
            self.event('plateau', end=facts['end'], found=facts['found'], bound=facts['bound'])

    def _advance(self, loss: float, num_tokens: int) -> float:
        """Counts a step; returns how many seconds it took."""
        self.step += 1
        self.num_tokens += num_tokens
        self.loss = loss
        now = time.monotonic()
        seconds, self._clock = max(now - self._clock, 1e-9), now
        return seconds


def _held_out_history(run: TrainerRun) -> HeldOutHistory | None:
    recipe = run.recipe
    if not isinstance(recipe, PretrainRecipe) or recipe.plateau is None:
        return None
    return HeldOutHistory(recipe.plateau, recipe.evalEverySteps)
