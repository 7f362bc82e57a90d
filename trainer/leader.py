"""Rank 0's session, which leads a training: obeys commands, saves, reports, tells the end."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from trainer.boundary import RunDirectory
from trainer.checkpoint import CheckpointIncompatible, verify_checkpoint
from trainer.config import TrainerRun
from trainer.decisions import micro_batches_used, rollback_scale, rollbacks_used
from trainer.endings import Left, TrainingDiverged, diverged
from trainer.feedback import Fault, LossHistory
from trainer.figures import Figures, figures_of
from trainer.saving import Saver
from trainer.session import END, LEAVE, SAVE, WAIT, Fill, Session

_PAUSE_POLL_S = 0.2


class Leader(Session):
    """Decides for all ranks, by the commands and the files of the run directory."""

    def __init__(self, run: TrainerRun, directory: RunDirectory) -> None:
        super().__init__(run)
        self.directory = directory
        self._saver = Saver(directory, run.keepCheckpoints)
        self._parted = False
        self._cursor: Callable[[], int] = lambda: 0
        self._paused = False
        # From which step on another factor on the rate was in force than before.
        self._rates: list[tuple[int, float]] = []
        self._losses = LossHistory()
        self._figures: Figures | None = None

    def resume(self) -> dict[str, Any] | None:
        folder = self.run.resumeFrom
        if folder is None:
            return None
        state = verify_checkpoint(Path(folder))
        try:
            self.step, self.num_tokens = int(state['step']), int(state['numTokens'])
            self.loss = float(state['loss'])
            rates = [(int(at), float(scale)) for at, scale in state['learningRates']]
            self._losses = LossHistory.restored(state['losses'])
            if self._held_out is not None:
                self._held_out.restore(state['heldOut'])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointIncompatible(f'{folder}: state.json, {error}') from error
        if state.get('phase') != self.run.recipe.phase:
            raise CheckpointIncompatible(
                f'{folder}: of phase {state.get("phase")!r}, expected {self.run.recipe.phase!r}'
            )
        words = {'rollbacks': 'rollbacks', 'microBatches': 'micro-batches'}
        for name, expected in self._used().items():
            if (found := state.get(name, [])) != expected:
                raise CheckpointIncompatible(
                    f'{folder}: found {words[name]} {found}, expected {expected}'
                )
        self._saver.resumed(self.step)
        self._rates = rates
        self.directory.adopt_learning_rates(rates)
        return state

    def weighs(self, model: Any, scored_share: float = 1.0) -> None:
        self._figures = figures_of(self.run, model, scored_share)

    def started(
        self, fill: Fill, cursor: Callable[[], int], checkpoint_bytes: int, parted: bool = False
    ) -> None:
        def with_others(folder: Path) -> dict[str, Any] | None:
            self._lowest(SAVE)
            return fill(folder)

        assert self._figures is not None
        self._cursor, self._parted = cursor, parted
        self._saver.begin(with_others if parted else fill, checkpoint_bytes)
        figures = self._figures.of_start(self.run.recipe.contextLength)
        self.event('start', resumedFrom=self.run.resumeFrom, **figures)

    def turn(self) -> float:
        try:
            self._obey()
            scale = self.directory.poll().learning_rate_scale(self.step)
            rates = self._rates_used()
            before = rates[-1][1] if rates else 1.0
            agreed = self._lowest(scale * rollback_scale(self._rollbacks, self.step))
            if agreed == LEAVE:
                self._leave_with_others()
        except Left:
            self._lowest(END)
            raise
        self._rates = rates if scale == before else [*rates, (self.step, scale)]
        return agreed

    def stepped(self, *, loss: float, lr: float, grad_norm: float, num_tokens: int) -> None:
        """Refuses to go on from numbers that are none, or far off."""
        seconds = self._advance(loss, num_tokens)
        fault = self._losses.see(self.step, loss, grad_norm)
        if math.isfinite(loss) and math.isfinite(grad_norm):
            recipe = self.run.recipe
            # A preference is two rows: the answer chosen and the one that was not.
            rows = recipe.batchSize * (2 if recipe.phase in ('dpo', 'orpo') else 1)
            assert self._figures is not None
            self.directory.event(
                'step',
                self.step,
                loss=loss,
                lr=lr,
                grad_norm=grad_norm,
                tokens_per_second=num_tokens / seconds,
                num_tokens=self.num_tokens,
                **self._figures.of_step(num_tokens, rows, seconds),
            )
        if fault is not None:
            raise diverged(fault, loss, grad_norm)

    def event(self, event: str, **facts: object) -> None:
        self.directory.event(event, self.step, **facts)
        self._clock = time.monotonic()

    def end_rung(self, held_out_loss: float, val_bpb: float | None) -> None:
        if not math.isfinite(held_out_loss):
            fault = Fault(
                kind='not-finite', first=self.step, step=self.step, found=None, bound=None
            )
            raise TrainingDiverged(fault, f'step {self.step}: held-out loss {held_out_loss}')
        self.event('end')
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
        model = self._saver.save_model(save_model)
        self.event('end')
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
        due = last or self.step % self.run.recipe.saveEverySteps == 0
        if self.directory.save_requested() or due or self._saver.is_to_retry():
            self._save()
        self._saver.delete(control.acknowledged)
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
            if self._lowest(WAIT) == LEAVE:
                self._leave_with_others()
            self._obey()
        self._paused = False

    def _leave_with_others(self) -> None:
        self._leave('Stopped', 'another rank was asked to stop')

    def _leave(self, kind: Literal['Stopped', 'Unwatched'], why: str) -> None:
        self._save()
        raise Left(kind, f'{why} at step {self.step}')

    def _save(self) -> None:
        if not self._saver.has(self.step):
            self._saver.save(self.step, self._state())

    def _state(self) -> dict[str, Any]:
        """For state.json."""
        return {
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

    def _rates_used(self) -> list[tuple[int, float]]:
        """What had an effect until now: equal bits are equal checkpoints, whatever comes later."""
        return [(at, scale) for at, scale in self._rates if at < self.step]

    def _used(self) -> dict[str, list[Any]]:
        """As `_rates_used`."""
        return {
            'rollbacks': rollbacks_used(self._rollbacks, self.step),
            'microBatches': micro_batches_used(self.run.microBatches or [], self.step),
        }

    def _told_decisions(self) -> dict[str, list[Any]]:
        return {name: used for name, used in self._used().items() if used}
