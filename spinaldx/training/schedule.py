"""How far training has come, as a function of the step alone.

A run limited by the clock plans its steps from its pace and corrects the plan now
and then. Each correction is recorded with its step before it takes effect, so that
a resumed run goes through the same learning rates as an uninterrupted one.
"""

import math
from dataclasses import dataclass

# Share of the run, or number of steps, in which the rate climbs to its highest.
_CLIMB_SHARE = 0.05
_CLIMB_STEPS = 100

# The rate at the end, relative to the highest.
_FLOOR = 0.01


@dataclass(frozen=True, slots=True)
class Turn:
    """A point at which the plan was made or corrected.

    Attributes:
        step: From this step on.
        progress: At this step, 0 to 1.
        last_step: Where progress reaches 1.
    """

    step: int
    progress: float
    last_step: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Progress against steps, in straight pieces.

    Attributes:
        turns: In order; the first is at step 0.
    """

    turns: tuple[Turn, ...]

    def progress(self, step: int) -> float:
        """Return the share of the run that is done before this step, 0 to 1."""
        turn = self._turn_at(step)
        if step >= turn.last_step:
            return 1.0
        share = (step - turn.step) / (turn.last_step - turn.step)
        return turn.progress + (1.0 - turn.progress) * share

    def last_step(self, step: int) -> int:
        """Return where the run ends, as known at this step."""
        return self._turn_at(step).last_step

    def is_recorded(self, step: int) -> bool:
        """Whether the plan from this step on is known from an earlier run."""
        return self.turns[-1].step >= step

    def corrected(self, step: int, last_step: int) -> "Plan":
        """Return the plan that ends at another step, from this step on."""
        turn = Turn(step, self.progress(step), max(last_step, step + 1))
        return Plan((*self.turns, turn))

    def _turn_at(self, step: int) -> Turn:
        return next(turn for turn in reversed(self.turns) if turn.step <= step)


def plan_steps(last_step: int) -> Plan:
    """Return the plan of a run whose number of steps is fixed."""
    return Plan((Turn(0, 0.0, last_step),))


def rate_factor(step: int, progress: float) -> float:
    """Return the learning rate relative to the highest: a climb, then a cosine."""
    climb = min(1.0, max((step + 1) / _CLIMB_STEPS, progress / _CLIMB_SHARE))
    fall = 0.5 * (1.0 + math.cos(math.pi * progress))
    return climb * (_FLOOR + (1.0 - _FLOOR) * fall)
