"""Effective-time ratio: the share of the time since a run's first start that went into its steps.

Steps that were made again after a restart count once; start-up, repeated work, waiting for
checkpoints and the time in which nobody restarted the run do not count.

Source: Kokolis et al. 2024, arXiv:2410.21680, which defines the effective training time ratio.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retfm_dist.durable import write_json


def read_begin(path: Path, *, now: Callable[[], float] = time.time) -> float:
    """Return the time of a run's first start, s since 1970; the first call writes it.

    Args:
        path: begun.json of the run directory.
        now: Time, s since 1970.
    """
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["unix_s"])
    except (OSError, ValueError, KeyError, TypeError):
        begun_at = now()
        write_json(path, {"unix_s": begun_at})
        return begun_at


class EffectiveTime:
    """Adds up the time of steps.

    Args:
        begun_at: As `read_begin` returns it.
        saved: `state` of the checkpoint that this start continues. That of another run, which
            began at another time, does not count.
        clock: Monotonic time, s.
        now: Time, s since 1970.
    """

    def __init__(
        self,
        begun_at: float,
        saved: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin with what a checkpoint has, or with nothing."""
        self._begun_at = begun_at
        self._clock = clock
        self._now = now
        is_own = saved is not None and saved["begun_at"] == begun_at
        self._productive_s: float = saved["productive_s"] if is_own and saved else 0.0
        self._since: float | None = None

    def state(self) -> dict[str, float]:
        """Return what the next start needs to go on counting."""
        return {"begun_at": self._begun_at, "productive_s": self._productive_s}

    def begin_step(self) -> None:
        """Start the clock of a step."""
        self._since = self._clock()

    def end_step(self) -> None:
        """Count the time since the step began."""
        assert self._since is not None
        self._productive_s += self._clock() - self._since

    def ratio(self) -> float:
        """Return the share of the time since the run's first start, in [0, 1]."""
        elapsed_s = self._now() - self._begun_at
        return min(1.0, self._productive_s / elapsed_s) if elapsed_s > 0 else 0.0
