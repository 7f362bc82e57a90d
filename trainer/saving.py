"""The checkpoints and the model of a run, saved by rank 0 where there is room for them."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.boundary import RunDirectory
from trainer.checkpoint import (
    delete_acknowledged,
    drop_oldest,
    save_checkpoint,
    saved_steps,
    write_folder,
)
from trainer.disk import DiskFull, is_disk_full
from trainer.memory import size_of
from trainer.session import Fill

_MAX_FAILURES = 3
_RETRY_S = 5.0


class Saver:
    """Saves once for each step; a full disk is reported and tried again."""

    def __init__(self, directory: RunDirectory, keep: int) -> None:
        self._directory, self._keep = directory, keep
        self._checkpoints = directory.path / 'checkpoints'
        self._fill: Fill | None = None
        self._checkpoint_bytes = 0
        # Nothing is lost by starting again from step 0, so it is as good as saved.
        self._saved_at = 0
        self._num_failures = 0
        self._retry_at = 0.0

    def begin(self, fill: Fill, checkpoint_bytes: int) -> None:
        """Makes room for checkpoints that `fill` writes the tensors of, about so many bytes."""
        self._fill, self._checkpoint_bytes = fill, checkpoint_bytes
        self._checkpoints.mkdir(exist_ok=True)

    def resumed(self, step: int) -> None:
        """Takes the checkpoint that training goes on from for saved."""
        self._saved_at = step

    def has(self, step: int) -> bool:
        """Whether this step is saved."""
        return self._saved_at == step

    def is_to_retry(self) -> bool:
        """Whether a save failed, and it is time for the next attempt."""
        return self._num_failures > 0 and time.monotonic() > self._retry_at

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Saves a checkpoint; raises DiskFull when that failed too often."""
        assert self._fill is not None
        self._directory.event('save_started', step)
        target = self._checkpoints / str(step)
        try:
            self._make_room()
            self._require_room()
            save_checkpoint(target, state, self._fill)
        except Exception as error:
            if not is_disk_full(error):
                raise
            self._num_failures += 1
            self._retry_at = time.monotonic() + _RETRY_S
            message = self._no_room(target, error)
            self._directory.event('save_failed', step, message=message)
            self._drop_oldest()
            if self._num_failures >= _MAX_FAILURES:
                raise DiskFull(f'{message}; failed {self._num_failures} times') from error
            return
        self._checkpoint_bytes = sum(file.stat().st_size for file in target.iterdir())
        self._num_failures = 0
        self._saved_at = step
        self._directory.event('checkpoint', step, path=str(target))

    def save_model(self, write: Callable[[Path], None]) -> Path:
        """Writes the model's folder."""
        target = self._directory.path / 'model'
        try:
            write_folder(target, write)
        except Exception as error:
            if not is_disk_full(error):
                raise
            raise DiskFull(self._no_room(target, error)) from error
        return target

    def delete(self, acknowledged: list[int]) -> None:
        """Deletes what was uploaded, but for the newest."""
        delete_acknowledged(self._checkpoints, acknowledged, self._keep)

    def _make_room(self) -> None:
        """Rather than end, drops what the newest checkpoint supersedes, where that is enough."""
        num_older = max(0, len(saved_steps(self._checkpoints)) - 1)
        if not self._has_room(num_older * self._checkpoint_bytes):
            return
        while not self._has_room() and self._drop_oldest():
            pass

    def _drop_oldest(self) -> bool:
        step = drop_oldest(self._checkpoints, self._directory.poll().acknowledged)
        if step is None:
            return False
        print(f'no room: dropped the checkpoint of step {step}, a newer one stays', flush=True)
        return True

    def _require_room(self) -> None:
        """Refuses a save that might fill the disk, which others need as well."""
        if not self._has_room():
            raise DiskFull('nothing was written')

    def _has_room(self, more: int = 0) -> bool:
        return shutil.disk_usage(self._checkpoints).free + more >= 2 * self._checkpoint_bytes

    def _no_room(self, target: Path, error: BaseException) -> str:
        """What was found, what was expected and what to do, of a write that failed."""
        found = size_of(shutil.disk_usage(target.parent).free)
        expected = size_of(2 * self._checkpoint_bytes)
        return (
            f'{target}: {error}; found {found} free, '
            f'expected {expected} (two checkpoints); free some space'
        )
