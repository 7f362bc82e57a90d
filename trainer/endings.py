"""How a training ends before its last step, and what its result says of that."""

import os
from typing import Any, Literal

from trainer.checkpoint import CheckpointIncompatible
from trainer.config import TrainerRun
from trainer.data import InvalidCorpus
from trainer.disk import DiskFull, is_disk_full
from trainer.feedback import Fault
from trainer.memory import out_of_memory
from trainer.parent import is_orphan


class TrainingDiverged(Exception):
    """The loss or the gradient is no finite number, or far above what it was."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class Left(Exception):
    """Training ends here by command or because nobody watches; a checkpoint was saved first."""

    def __init__(self, kind: Literal['Stopped', 'Unwatched'], message: str) -> None:
        super().__init__(message)
        self.kind = kind


def diverged(fault: Fault, loss: float, grad_norm: float) -> TrainingDiverged:
    """What was found in a step, what was expected, and what to do."""
    if fault.found is None:
        found = f'loss {loss}, gradient norm {grad_norm}'
    else:
        what = 'loss' if fault.kind == 'spike' else 'mean loss'
        found = (
            f'{what} {fault.found:.3f} since step {fault.first}, expected at most {fault.bound:.3f}'
        )
    advice = 'lower the learning rate or resume from an earlier checkpoint'
    return TrainingDiverged(fault, f'step {fault.step}: {found}; {advice}')


def result_of(
    error: Exception, run: TrainerRun, step: int, rows_at_once: int | None
) -> dict[str, Any]:
    """The result of a rank that met this error in the step after so many."""
    # What an orphan meets is its agent's death, which is no result of the run.
    if 'TEMPER_PARENT_PID' in os.environ and is_orphan():
        os._exit(1)
    kind = kind_of(error)
    message = str(error) or type(error).__name__
    facts: dict[str, Any] = {}
    if isinstance(error, TrainingDiverged):
        facts['fault'] = error.fault.facts()
    if kind == 'OutOfMemory':
        message = f'{message}; {_taken(run) or out_of_memory()}'
        if rows_at_once is not None:
            facts['rows'] = rows_at_once
    return {'ok': False, 'type': kind, 'message': message, 'step': step, **facts}


def kind_of(error: BaseException) -> str:
    """The type that config/trainer.ts has for it."""
    for kind in (TrainingDiverged, DiskFull, CheckpointIncompatible, InvalidCorpus):
        if isinstance(error, kind):
            return kind.__name__
    if isinstance(error, Left):
        return error.kind
    text = str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text or 'out of memory' in text:
        return 'OutOfMemory'
    if is_disk_full(error):
        return 'DiskFull'
    if isinstance(error, ValueError):
        return 'InvalidConfig'
    return 'Failed'


def _taken(run: TrainerRun) -> str | None:
    if run.recipe.device == 'cpu':
        return None
    from trainer.device import choose_device, device_memory

    return device_memory(choose_device(run.recipe.device))
