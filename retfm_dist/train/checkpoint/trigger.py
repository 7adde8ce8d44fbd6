"""When a checkpoint is due: by steps, by the clock, by what one costs, or as often as can be."""

import math
import time
from collections.abc import Callable

from retfm_dist.config.durations import SaveInterval

_FIRST_S = 60.0
"""Before the cost of a checkpoint has been measured."""


def young_daly_interval_s(*, cost_s: float, time_between_failures_s: float) -> float:
    """Return the time between checkpoints that loses the least: sqrt(2 C M).

    Source: Young 1974, doi:10.1145/361147.361115; Daly 2006, doi:10.1016/j.future.2004.11.016, the
        first-order term.

    Args:
        cost_s: Time that training waits for a checkpoint, C.
        time_between_failures_s: Mean time between failures of the job, M.
    """
    return math.sqrt(2 * cost_s * time_between_failures_s)


class Trigger:
    """Says whether a checkpoint is due.

    Args:
        interval: As configured.
        every_steps: The interval in steps where it is a length of training.
        time_between_failures_s: Mean time between failures of the job, for "auto".
        clock: Monotonic time, s.
    """

    def __init__(
        self,
        interval: SaveInterval,
        *,
        every_steps: int,
        time_between_failures_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock."""
        self._interval = interval
        self._every_steps = every_steps
        self._time_between_failures_s = time_between_failures_s
        self._clock = clock
        self._since = clock()
        self._cost_s: float | None = None

    def is_planned(self, step: int) -> bool:
        """Whether to save after `step` completed steps, by their number."""
        return bool(self._every_steps) and step % self._every_steps == 0

    def is_time(self, *, is_saving: bool) -> bool:
        """Whether to save by the clock; clocks differ, so the main rank's answer counts.

        Args:
            is_saving: Whether the checkpoint before is still being written, which one that is due
                by its step waits for and one by the clock does not.
        """
        if self._every_steps or is_saving:
            return False
        return self._clock() - self._since >= self._wait_s()

    def saved(self, *, stall_s: float) -> None:
        """Note that a checkpoint has begun.

        Args:
            stall_s: Time that the step waited for it.
        """
        self._since = self._clock()
        self._cost_s = stall_s

    def _wait_s(self) -> float:
        match self._interval.unit:
            case "continuous":
                return 0.0
            case "auto":
                if self._cost_s is None:
                    return _FIRST_S
                return young_daly_interval_s(
                    cost_s=self._cost_s, time_between_failures_s=self._time_between_failures_s
                )
            case unit:
                return self._interval.amount * (3600 if unit == "hours" else 60)
