"""The session of a rank other than 0: counts along and does as rank 0 does."""

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.boundary import RunDirectory
from trainer.checkpoint import (
    aside_of,
    delete_acknowledged,
    is_shard,
    open_aside,
    rename_whole,
    shard_name,
    verify_checkpoint,
)
from trainer.config import TrainerRun
from trainer.disk import is_disk_full
from trainer.endings import Left
from trainer.session import END, LEAVE, SAVE, WAIT, Fill, Session


class Follower(Session):
    """The first one on a host of its own reports there, to whoever watches that host."""

    def __init__(self, run: TrainerRun, directory: RunDirectory | None = None) -> None:
        super().__init__(run)
        self._reports_to = directory

    def resume(self) -> dict[str, Any] | None:
        if self.run.resumeFrom is None:
            return None
        # The first rank of a host verifies all for it, as rank 0 does for its own; a shard is
        # verified by whose it is as well.
        rank = int(os.environ.get('RANK', '0'))
        own = shard_name(rank, self.run.recipe.worldSize)
        is_first = self._reports_to is not None
        state = verify_checkpoint(
            Path(self.run.resumeFrom),
            lambda name: is_first or name == own or not is_shard(name),
        )
        self.step, self.num_tokens = int(state['step']), int(state['numTokens'])
        if self._held_out is not None:
            self._held_out.restore(state['heldOut'])
        return state

    def weighs(self, model: Any, scored_share: float = 1.0) -> None:
        """Rank 0 tells the utilisation of all."""

    def started(
        self, fill: Fill, cursor: Callable[[], int], checkpoint_bytes: int, parted: bool = False
    ) -> None:
        self._fill = fill
        if self._reports_to is not None:
            (self._reports_to.path / 'checkpoints').mkdir(exist_ok=True)
        self.event('start', resumedFrom=self.run.resumeFrom)
        self._clock = time.monotonic()

    def turn(self) -> float:
        while True:
            agreed = self._lowest(LEAVE if self._is_to_leave() else math.inf)
            if agreed == END:
                raise Left('Stopped', 'rank 0 has saved, and all leave')
            if agreed == SAVE:
                self._save_part()
            elif agreed > WAIT:
                return agreed

    def stepped(self, *, loss: float, lr: float, grad_norm: float, num_tokens: int) -> None:
        seconds = self._advance(loss, num_tokens)
        self.event(
            'step',
            loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            tokens_per_second=num_tokens / seconds,
            num_tokens=self.num_tokens,
        )

    def event(self, event: str, **facts: object) -> None:
        if self._reports_to is not None:
            self._reports_to.event(event, self.step, **facts)

    def end_rung(self, held_out_loss: float, val_bpb: float | None) -> None:
        """Rank 0 tells the loss of all."""

    def finish(
        self,
        save_model: Callable[[Path], None],
        val_bpb: float | None,
        val_bpb_before: float | None = None,
    ) -> None:
        if self._reports_to is None:
            return
        self.event('end')
        self._reports_to.finish(
            {
                'ok': True,
                'step': self.step,
                'numTokens': self.num_tokens,
                'finalLoss': self.loss,
                'valBpb': None,
                'model': None,
            }
        )

    def _is_to_leave(self) -> bool:
        directory = self._reports_to
        if directory is None:
            return self._terminated
        return directory.poll().stop or directory.unwatched() or self._terminated

    def _save_part(self) -> None:
        """This rank's part of a checkpoint; on a host of its own, it appears whole there."""
        assert self._fill is not None
        target = Path(self.run.runDir) / 'checkpoints' / str(self.step)
        directory = self._reports_to
        try:
            if directory is None:
                self._fill(aside_of(target))
                return
            self.event('save_started')
            acknowledged = directory.poll().acknowledged
            delete_acknowledged(target.parent, acknowledged, self.run.keepCheckpoints)
            # Where this fails, writing fails as well, and that every rank hears of.
            with suppress(OSError):
                open_aside(target)
            self._fill(aside_of(target))
            rename_whole(aside_of(target), target)
            self.event('checkpoint', path=str(target))
        except Exception as error:
            # A full disk must not stay full because of what the failure left aside.
            if directory is not None:
                shutil.rmtree(aside_of(target), ignore_errors=True)
            # Rank 0 has heard of it, and tries again.
            if not is_disk_full(error):
                raise
