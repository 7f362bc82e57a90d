"""What training tells of itself: losses that call for going back, or for an early end.

Pure functions of the figures, whose memory a checkpoint takes along: a run that was killed finds
the same at the same step.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from trainer.recipes import PlateauRule

# Trailing losses that a new one is measured against; PaLM (Chowdhery et al. 2022, 5.1) and Molybog
# et al. (2023) tell spikes apart by what went before, and all that they show last for many steps.
_WINDOW = 64
# Fewer say nothing about the spread.
_LEAST = 16
# One batch of odd text is no spike: the loss of the next one is as before.
_IN_A_ROW = 4
# What neither noise nor a change of subject explains, both at once: six deviations, and a nat a
# token, by which what is likely becomes 2.7 times less so. A deviation alone is small where a tiny
# model has learnt its rows by heart.
_DEVIATIONS = 6.0
_NATS = 1.0


@dataclass(kw_only=True, slots=True)
class Fault:
    """Why training should go on from before `first`, which is the first step that shows it."""

    kind: Literal['not-finite', 'spike', 'divergence']
    first: int
    step: int
    found: float | None
    bound: float | None

    def facts(self) -> dict[str, Any]:
        """For result.json."""
        return {
            'kind': self.kind,
            'first': self.first,
            'step': self.step,
            'found': self.found,
            'bound': self.bound,
        }


class LossHistory:
    """The losses of the last steps, and the lowest level that they had."""

    def __init__(self) -> None:
        self._window: list[float] = []
        # Losses above the bound, in a row; they would lift what they are measured against.
        self._above: list[float] = []
        self._lowest: tuple[float, int] | None = None

    def see(self, step: int, loss: float, grad_norm: float) -> Fault | None:
        """Takes in the loss of a step; says what is wrong with it."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            first = step - len(self._above)
            return Fault(kind='not-finite', first=first, step=step, found=None, bound=None)
        mean, deviation = self._level()
        bound = mean + max(_DEVIATIONS * deviation, _NATS)
        if len(self._window) >= _LEAST and loss > bound:
            self._above.append(loss)
            if len(self._above) < _IN_A_ROW:
                return None
            first = step - _IN_A_ROW + 1
            found = min(self._above)
            return Fault(kind='spike', first=first, step=step, found=found, bound=bound)
        self._above.clear()
        self._window = [*self._window, loss][-_WINDOW:]
        return self._creeping(step)

    def _creeping(self, step: int) -> Fault | None:
        """A loss that rises too slowly for a spike."""
        if len(self._window) < _WINDOW:
            return None
        mean, deviation = self._level()
        if self._lowest is None or mean < self._lowest[0]:
            self._lowest = (mean, step)
        level, at = self._lowest
        # Of a mean of 64 losses a deviation of one is eight of its own.
        bound = level + max(deviation, _NATS)
        if mean <= bound:
            return None
        return Fault(kind='divergence', first=at + 1, step=step, found=mean, bound=bound)

    def _level(self) -> tuple[float, float]:
        count = max(1, len(self._window))
        mean = math.fsum(self._window) / count
        return mean, math.sqrt(math.fsum((loss - mean) ** 2 for loss in self._window) / count)

    def state(self) -> dict[str, Any]:
        """For state.json."""
        return {'window': self._window, 'above': self._above, 'lowest': self._lowest}

    @staticmethod
    def restored(state: dict[str, Any]) -> 'LossHistory':
        """What `state` gave."""
        history = LossHistory()
        history._window = [float(loss) for loss in state['window']]
        history._above = [float(loss) for loss in state['above']]
        if state['lowest'] is not None:
            level, at = state['lowest']
            history._lowest = (float(level), int(at))
        return history


@dataclass(kw_only=True, slots=True)
class Plateau:
    """From which step on nothing was gained: the rate falls to zero until `end`."""

    step: int
    end: int
    found: float
    bound: float

    def facts(self) -> dict[str, Any]:
        """For the event, state.json and result.json."""
        return {'step': self.step, 'end': self.end, 'found': self.found, 'bound': self.bound}


class HeldOutHistory:
    """The losses on held-out text on the way, and whether they still fall."""

    def __init__(self, rule: PlateauRule, every: int) -> None:
        self._rule, self._every = rule, every
        self._losses: list[float] = []
        self.plateau: Plateau | None = None

    def see(self, step: int, loss: float, num_steps: int) -> Plateau | None:
        """Takes in an evaluation; says when it was the last one in vain."""
        if self.plateau is not None:
            return None
        self._losses.append(loss)
        before = self._losses[: -self._rule.evaluations]
        # The rate falls over as many steps as lie between two evaluations, as a plan's does at its
        # end: weights left at a high rate are worse than they need be (Hägele et al. 2024).
        end = step + self._every
        if not before or end >= num_steps:
            return None
        found = min(self._losses[-self._rule.evaluations :])
        bound = min(before) * (1 - self._rule.leastFall)
        if found <= bound:
            return None
        self.plateau = Plateau(step=step, end=end, found=found, bound=bound)
        return self.plateau

    def state(self) -> dict[str, Any]:
        """For state.json."""
        plateau = None if self.plateau is None else self.plateau.facts()
        return {'losses': self._losses, 'plateau': plateau}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""
        self._losses = [float(loss) for loss in state['losses']]
        plateau = state['plateau']
        self.plateau = None if plateau is None else Plateau(**plateau)
