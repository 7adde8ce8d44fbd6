"""Time spent by the loader's threads, by activity, in seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Timings:
    """Adds up seconds under names, from any thread.

    Args:
        names: Activities, all present in every report.
        clock: Returns seconds that never run backwards.
    """

    def __init__(
        self, names: tuple[str, ...], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Start all sums at zero."""
        self._clock = clock
        self._lock = threading.Lock()
        self._sums = dict.fromkeys(names, 0.0)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the duration of the block, whether it ends well or not, to `name`."""
        started_at = self._clock()
        try:
            yield
        finally:
            elapsed_s = self._clock() - started_at
            with self._lock:
                self._sums[name] += elapsed_s

    def take(self) -> dict[str, float]:
        """Return the sums since the last call and start again at zero."""
        with self._lock:
            taken, self._sums = self._sums, dict.fromkeys(self._sums, 0.0)
        return taken
