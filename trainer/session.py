"""What every phase does besides training: obey commands, save, report, and end with a result.

A phase gives a `Phase`; pretraining drives it from its own loop, fine-tuning from a callback.
"""

import argparse
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from trainer.boundary import Busy, RunDirectory, refuse
from trainer.checkpoint import (
    CheckpointIncompatible,
    aside_of,
    delete_acknowledged,
    is_shard,
    open_aside,
    rename_whole,
    save_checkpoint,
    shard_name,
    verify_checkpoint,
    write_folder,
)
from trainer.config import PretrainRecipe, Rollback, TrainerRun, load_run
from trainer.data import InvalidCorpus
from trainer.disk import DiskFull, is_disk_full
from trainer.failures import first_failure, tell_failure
from trainer.feedback import (
    Fault,
    HeldOutHistory,
    LossHistory,
    Plateau,
    batches_done,
    next_batch,
    rollback_scale,
)
from trainer.figures import Figures, memory_used
from trainer.memory import micro_batch, note_rows, out_of_memory, size_of
from trainer.parent import end_with_parent, is_orphan
from trainer.peak import peak_flops

T = TypeVar('T')

_MAX_FAILED_SAVES = 3
_PAUSE_POLL_S = 0.2
_RETRY_SAVE_S = 5.0
# What ranks agree on between two steps is a factor on the rate, or one of these, the lowest first.
# Any rank may wish to leave; rank 0 alone says when to wait, to save a part, and to end.
_END, _SAVE, _LEAVE, _WAIT = -3.0, -2.0, -1.0, 0.0
_WORKING_EVERY_S = 2.0
# Less of a processor than this is no work: the process hangs.
_WORKING_SHARE = 0.01


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


def _alone(value: float) -> float:
    return value


class Session:
    """One training run in its directory, led by rank 0; `Follower` is what the other ranks have."""

    # Of the step that was begun last; packed chats fill fewer rows than there are chats.
    rows_at_once: int | None = None

    def __init__(self, run: TrainerRun, directory: RunDirectory) -> None:
        self.run = run
        self.step = 0
        self.num_tokens = 0
        self.loss = 0.0
        self.directory = directory
        self._fill: Callable[[Path], dict[str, Any] | None] | None = None
        self._parted = False
        self._cursor: Callable[[], int] = lambda: 0
        # Nothing is lost by starting again from step 0, so it is as good as saved.
        self._saved_at = 0
        self._failed_saves = 0
        self._retry_at = 0.0
        self._checkpoint_bytes = 0
        self._sync = self._lowest = _alone
        self._terminated = False
        self._paused = False
        # From which step on another factor on the rate was in force than before.
        self._rates: list[tuple[int, float]] = []
        self._losses = LossHistory()
        self._held_out = _held_out_history(run)
        self._figures: Figures | None = None
        self._clock = time.monotonic()
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def resume(self) -> dict[str, Any] | None:
        """Verifies the checkpoint to start from; returns its state, or None at the beginning."""
        if self.run.resumeFrom is None:
            return None
        state = verify_checkpoint(Path(self.run.resumeFrom))
        try:
            self.step, self.num_tokens = int(state['step']), int(state['numTokens'])
            self.loss = float(state['loss'])
            rates = [(int(at), float(scale)) for at, scale in state['learningRates']]
            self._losses = LossHistory.restored(state['losses'])
            if self._held_out is not None:
                self._held_out.restore(state['heldOut'])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointIncompatible(f'{self.run.resumeFrom}: state.json, {error}') from error
        if state.get('phase') != self.run.recipe.phase:
            raise CheckpointIncompatible(
                f'{self.run.resumeFrom}: of phase {state.get("phase")!r}, '
                f'expected {self.run.recipe.phase!r}'
            )
        if state.get('rollbacks', []) != self._rollbacks_used():
            raise CheckpointIncompatible(
                f'{self.run.resumeFrom}: found rollbacks {state.get("rollbacks", [])}, '
                f'expected {self._rollbacks_used()}'
            )
        if state.get('microBatches', []) != self._micro_batches_used():
            raise CheckpointIncompatible(
                f'{self.run.resumeFrom}: found micro-batches {state.get("microBatches", [])}, '
                f'expected {self._micro_batches_used()}'
            )
        self._saved_at = self.step
        self._rates = rates
        self.directory.adopt_learning_rates(rates)
        return state

    def working(self, what: Literal['evaluating'], parts: Iterable[T]) -> Iterator[T]:
        """Yields the parts of a work without steps, saying now and then that it goes on."""
        said_at = -math.inf
        for part in parts:
            if time.monotonic() - said_at >= _WORKING_EVERY_S:
                said_at = time.monotonic()
                self.event('working', what=what)
            yield part

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Says that training is being prepared, for as long as this process computes.

        The libraries that load and tokenize return only at their end: a thread speaks for them,
        and falls silent when the process stands still.
        """
        done = threading.Event()

        def speak() -> None:
            used = time.process_time()
            while not done.wait(_WORKING_EVERY_S):
                before, used = used, time.process_time()
                if used - before >= _WORKING_SHARE * _WORKING_EVERY_S:
                    self.event('working', what='preparing')

        self.event('working', what='preparing')
        speaker = threading.Thread(target=speak, name='preparing', daemon=True)
        speaker.start()
        try:
            yield
        finally:
            done.set()
            speaker.join()

    def started(
        self,
        fill: Callable[[Path], dict[str, Any] | None],
        cursor: Callable[[], int],
        checkpoint_bytes: int,
        parted: bool = False,
    ) -> None:
        """Says that training begins.

        `fill` writes a checkpoint's tensors, about so many bytes; `cursor` tells its place. Where
        it is `parted`, every rank writes a part of each at the same time.
        """
        self._fill, self._cursor, self._checkpoint_bytes = fill, cursor, checkpoint_bytes
        self._parted = parted
        (self.directory.path / 'checkpoints').mkdir(exist_ok=True)
        self.directory.event(
            'start', self.step, resumedFrom=self.run.resumeFrom, **self._told_figures()
        )
        self._clock = time.monotonic()

    def weighs(self, model: Any, scored_share: float = 1.0) -> None:
        """Counts what a step of this model computes, for its utilisation of the machine.

        Of its tokens so many are turned into words.
        """
        peak = float(os.environ.get('TEMPER_PEAK_FLOPS', '0'))
        recipe = self.run.recipe
        if recipe.device == 'cuda':
            # Measured here: a launcher that had looked at a GPU would hold memory of it.
            file = None if self.run.peakFile is None else Path(self.run.peakFile)
            each = peak_flops(file, 'cuda', recipe.precision, recipe.threads)
            peak = recipe.worldSize * each
        self._figures = Figures(model, peak if peak > 0 else None, scored_share)

    def _told_figures(self) -> dict[str, float]:
        if self._figures is None:
            return {}
        told = {'flops_per_token': self._figures.flops_per_token(self.run.recipe.contextLength)}
        return told if self._figures.peak is None else {**told, 'peak_flops': self._figures.peak}

    def _figures_of(self, num_tokens: int, seconds: float) -> dict[str, float]:
        recipe = self.run.recipe
        # A preference is two rows: the answer chosen and the one that was not.
        rows = recipe.batchSize * (2 if recipe.phase in ('dpo', 'orpo') else 1)
        mfu = None if self._figures is None else self._figures.mfu(num_tokens, rows, seconds)
        return {**({} if mfu is None else {'mfu': mfu}), **memory_used()}

    def share(self, sync: Callable[[float], float], lowest: Callable[[float], float]) -> None:
        """Sets how rank 0's decisions reach the others, and how all learn of the lowest value."""
        self._sync, self._lowest = sync, lowest

    def turn(self) -> float:
        """Between two steps: obeys; returns the factor on the rate for the step that starts now."""
        try:
            self._obey()
            scale = self.directory.poll().learning_rate_scale(self.step)
            rates = self._rates_used()
            before = rates[-1][1] if rates else 1.0
            agreed = self._lowest(scale * rollback_scale(self._rollbacks, self.step))
            if agreed == _LEAVE:
                self._leave_with_others()
        except Left:
            self._lowest(_END)
            raise
        self._rates = rates if scale == before else [*rates, (self.step, scale)]
        return agreed

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

    def micro_batch(self, rows: int) -> int:
        """How many of a rank's rows the step that starts now computes at once."""
        decided = self.run.microBatches or []
        size = micro_batch(self.run.recipe.microBatchSize, decided, self.step, rows)
        if size != self.rows_at_once:
            self.rows_at_once = size
            note_rows(Path(self.run.runDir), size)
        return size

    def _told_decisions(self) -> dict[str, Any]:
        told = {'rollbacks': self._rollbacks_used(), 'microBatches': self._micro_batches_used()}
        return {name: used for name, used in told.items() if used}

    def _micro_batches_used(self) -> list[list[int]]:
        """As `_rates_used`."""
        decided = self.run.microBatches or []
        return [[each.step, each.size] for each in decided if each.step < self.step]

    def _rollbacks_used(self) -> list[list[float]]:
        """As `_rates_used`."""
        return [[r.step, r.skippedTo, r.scale] for r in self._rollbacks if r.step < self.step]

    def _rates_used(self) -> list[tuple[int, float]]:
        """What had an effect until now: equal bits are equal checkpoints, whatever comes later."""
        return [(at, scale) for at, scale in self._rates if at < self.step]

    def stepped(self, *, loss: float, lr: float, grad_norm: float, num_tokens: int) -> None:
        """Reports one optimizer step; refuses to go on from numbers that are none, or far off."""
        self.step += 1
        self.num_tokens += num_tokens
        self.loss = loss
        now = time.monotonic()
        seconds, self._clock = max(now - self._clock, 1e-9), now
        fault = self._losses.see(self.step, loss, grad_norm)
        if math.isfinite(loss) and math.isfinite(grad_norm):
            self.directory.event(
                'step',
                self.step,
                loss=loss,
                lr=lr,
                grad_norm=grad_norm,
                tokens_per_second=num_tokens / seconds,
                num_tokens=self.num_tokens,
                **self._figures_of(num_tokens, seconds),
            )
        if fault is not None:
            raise TrainingDiverged(fault, _describe(fault, loss, grad_norm))

    def _obey(self) -> None:
        """Saves when it is time or asked for, pauses, or leaves."""
        control = self.directory.poll()
        last = self.step >= self.num_steps or self.step == self.run.untilStep
        if self._terminated or control.stop:
            self._leave('Stopped', 'SIGTERM' if self._terminated else 'asked to stop')
        if control.stop_at is not None and time.time() >= control.stop_at:
            self._leave('Stopped', 'its time was over')
        if self.directory.unwatched():
            limit = self.run.recipe.unwatchedExitS
            self._leave('Unwatched', f'control.json was not touched for {limit} s')
        due = self.step % self.run.recipe.saveEverySteps == 0
        if self.directory.save_requested() or last or (due and self._saved_at != self.step):
            self._save()
        elif self._failed_saves and time.monotonic() > self._retry_at:
            self._save()
        delete_acknowledged(
            self.directory.path / 'checkpoints', control.acknowledged, self.run.keepCheckpoints
        )
        if control.paused and not last:
            self._pause()
        self._clock = time.monotonic()

    def _pause(self) -> None:
        if self._paused:
            return
        self._paused = True
        self._save()
        told = None
        while (control := self.directory.poll()).paused:
            # One that was taken back and asked for again is another, in which it stands too.
            if control.pause != told:
                told = control.pause
                self.directory.event('paused', self.step, pause=told)
            time.sleep(_PAUSE_POLL_S)
            # The others wait along: none may take the silence for a loss.
            if self._lowest(_WAIT) == _LEAVE:
                self._leave_with_others()
            self._obey()
        self._paused = False

    def _leave_with_others(self) -> None:
        self._leave('Stopped', 'another rank was asked to stop')

    def _leave(self, kind: Literal['Stopped', 'Unwatched'], why: str) -> None:
        self._save()
        raise Left(kind, f'{why} at step {self.step}')

    def _save(self) -> None:
        """Saves a checkpoint once for each step; a full disk is reported and tried again."""
        assert self._fill is not None
        if self._saved_at == self.step:
            return
        self.directory.event('save_started', self.step)
        target = self.directory.path / 'checkpoints' / str(self.step)
        state = {
            'phase': self.run.recipe.phase,
            'step': self.step,
            'cursor': self._cursor(),
            'numTokens': self.num_tokens,
            'loss': self.loss,
            'learningRates': self._rates_used(),
            'losses': self._losses.state(),
            **({} if self._held_out is None else {'heldOut': self._held_out.state()}),
            **self._told_decisions(),
            **({'numShards': self.run.recipe.worldSize} if self._parted else {}),
        }
        try:
            self._require_room(target)
            save_checkpoint(target, state, self._fill_all)
        except Exception as error:
            if not is_disk_full(error):
                raise
            self._failed_saves += 1
            self._retry_at = time.monotonic() + _RETRY_SAVE_S
            message = self._no_room(target, error)
            self.directory.event('save_failed', self.step, message=message)
            if self._failed_saves >= _MAX_FAILED_SAVES:
                raise DiskFull(f'{message}; failed {self._failed_saves} times') from error
            return
        self._checkpoint_bytes = sum(file.stat().st_size for file in target.iterdir())
        self._failed_saves = 0
        self._saved_at = self.step
        self.directory.event('checkpoint', self.step, path=str(target))

    def _fill_all(self, folder: Path) -> dict[str, Any] | None:
        assert self._fill is not None
        if self._parted:
            self._lowest(_SAVE)
        return self._fill(folder)

    def _require_room(self, target: Path) -> None:
        """Refuses a save that might fill the disk, which others need as well."""
        if shutil.disk_usage(target.parent).free < 2 * self._checkpoint_bytes:
            raise DiskFull('nothing was written')

    def _no_room(self, target: Path, error: BaseException) -> str:
        """What was found, what was expected and what to do, of a write that failed."""
        found = size_of(shutil.disk_usage(target.parent).free)
        expected = size_of(2 * self._checkpoint_bytes)
        return (
            f'{target}: {error}; found {found} free, '
            f'expected {expected} (two checkpoints); free some space'
        )

    def event(self, event: str, **facts: object) -> None:
        """Reports something at this step."""
        self.directory.event(event, self.step, **facts)
        self._clock = time.monotonic()

    def end_rung(self, held_out_loss: float, val_bpb: float | None) -> None:
        """Ends where run.json says, saved, with the loss that trials are compared by."""
        if not math.isfinite(held_out_loss):
            fault = Fault(
                kind='not-finite', first=self.step, step=self.step, found=None, bound=None
            )
            raise TrainingDiverged(fault, f'step {self.step}: held-out loss {held_out_loss}')
        self.directory.event('end', self.step)
        self.directory.finish(
            {
                'ok': False,
                'type': 'RungEnded',
                'message': f'ended at step {self.step}, as asked',
                'step': self.step,
                'heldOut': {'loss': held_out_loss, 'bpb': val_bpb},
            }
        )

    def finish(
        self,
        save_model: Callable[[Path], None],
        val_bpb: float | None,
        val_bpb_before: float | None = None,
    ) -> None:
        """Writes the model and the result, the latter last."""
        model = self.directory.path / 'model'
        try:
            write_folder(model, save_model)
        except Exception as error:
            if not is_disk_full(error):
                raise
            raise DiskFull(self._no_room(model, error)) from error
        self.directory.event('end', self.step)
        self.directory.finish(
            {
                'ok': True,
                'step': self.step,
                'numTokens': self.num_tokens,
                'finalLoss': self.loss,
                'valBpb': val_bpb,
                **({} if val_bpb_before is None else {'valBpbBefore': val_bpb_before}),
                'learningRates': self._rates_used(),
                **self._told_decisions(),
                **({} if self.plateau is None else {'plateau': self.plateau.facts()}),
                'model': str(model),
            }
        )


class Follower(Session):
    """The session of a rank other than 0: counts along and does as rank 0 does.

    The first one on a host of its own reports there, to whoever watches that host.
    """

    def __init__(self, run: TrainerRun, directory: RunDirectory | None = None) -> None:
        self.run = run
        self.step = self.num_tokens = 0
        self.loss = 0.0
        self._reports_to = directory
        self._sync = self._lowest = _alone
        self._terminated = False
        self._held_out = _held_out_history(run)
        signal.signal(signal.SIGTERM, self._terminate)

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

    def started(
        self,
        fill: Callable[[Path], dict[str, Any] | None],
        cursor: Callable[[], int],
        checkpoint_bytes: int,
        parted: bool = False,
    ) -> None:
        self._fill = fill
        if self._reports_to is not None:
            (self._reports_to.path / 'checkpoints').mkdir(exist_ok=True)
        self.event('start', resumedFrom=self.run.resumeFrom)
        self._clock = time.monotonic()

    def weighs(self, model: Any, scored_share: float = 1.0) -> None:
        """Rank 0 tells the utilisation of all."""

    def turn(self) -> float:
        while True:
            agreed = self._lowest(_LEAVE if self._is_to_leave() else math.inf)
            if agreed == _END:
                raise Left('Stopped', 'rank 0 has saved, and all leave')
            if agreed == _SAVE:
                self._save_part()
            elif agreed > _WAIT:
                return agreed

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

    def _is_to_leave(self) -> bool:
        directory = self._reports_to
        if directory is None:
            return self._terminated
        return directory.poll().stop or directory.unwatched() or self._terminated

    def stepped(self, *, loss: float, lr: float, grad_norm: float, num_tokens: int) -> None:
        self.step += 1
        self.num_tokens += num_tokens
        self.loss = loss
        now = time.monotonic()
        seconds, self._clock = max(now - self._clock, 1e-9), now
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
        pass

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


def _held_out_history(run: TrainerRun) -> HeldOutHistory | None:
    recipe = run.recipe
    if not isinstance(recipe, PretrainRecipe) or recipe.plateau is None:
        return None
    return HeldOutHistory(recipe.plateau, recipe.evalEverySteps)


def _describe(fault: Fault, loss: float, grad_norm: float) -> str:
    if fault.found is None:
        found = f'loss {loss}, gradient norm {grad_norm}'
    else:
        what = 'loss' if fault.kind == 'spike' else 'mean loss'
        found = (
            f'{what} {fault.found:.3f} since step {fault.first}, expected at most {fault.bound:.3f}'
        )
    return (
        f'step {fault.step}: {found}; lower the learning rate or resume from an earlier checkpoint'
    )


def _kind_of(error: BaseException) -> str:
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


def run_phase(phase: str, train: Callable[[Session], None]) -> None:
    """The main of a phase: reads --config, trains in the run directory, leaves a result there."""
    # Under torchrun an orphaned rank would go on beside the next generation's.
    if 'TEMPER_PARENT_PID' in os.environ:
        end_with_parent()
    path = _config_path()
    try:
        run = load_run(path, phase)
    except ValueError as error:
        refuse(path, str(error))
    leads = int(os.environ.get('RANK', '0')) == 0
    if not leads and (run.gang is None or int(os.environ['LOCAL_RANK']) > 0):
        follower = Follower(run)
        try:
            train(follower)
        except Left:
            pass
        except Exception as error:
            tell_failure(Path(run.runDir), _result_of(error, follower))
            raise
        return
    try:
        directory = RunDirectory(run.runDir, run.recipe.unwatchedExitS)
    except Busy as error:
        sys.exit(str(error))
    session = Session(run, directory) if leads else Follower(run, directory)
    try:
        train(session)
    except Exception as error:
        result = _result_of(error, session)
        kind, message = result['type'], result['message']
        # The loss of another rank: that one knows why.
        other = first_failure(directory.path) if kind == 'Failed' else None
        directory.finish(other or result)
        if not isinstance(error, Left):
            if kind == 'Failed':
                raise
            sys.exit(f'{kind}: {message}')


def _result_of(error: Exception, session: Session) -> dict[str, Any]:
    # What an orphan meets is its agent's death, which is no result of the run.
    if 'TEMPER_PARENT_PID' in os.environ and is_orphan():
        os._exit(1)
    kind = _kind_of(error)
    message = str(error) or type(error).__name__
    facts: dict[str, Any] = {}
    if isinstance(error, TrainingDiverged):
        facts['fault'] = error.fault.facts()
    if kind == 'OutOfMemory':
        message = f'{message}; {_taken(session.run) or out_of_memory()}'
        if session.rows_at_once is not None:
            facts['rows'] = session.rows_at_once
    return {'ok': False, 'type': kind, 'message': message, 'step': session.step, **facts}


def _taken(run: TrainerRun) -> str | None:
    if run.recipe.device == 'cpu':
        return None
    from trainer.device import choose_device, device_memory

    return device_memory(choose_device(run.recipe.device))


def _config_path() -> str:
    parser = argparse.ArgumentParser()
    parser.add_argument('--config', required=True)
    return parser.parse_args().config
