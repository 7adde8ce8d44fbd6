"""Time of forward passes, in which ranks wait for nobody: the one that takes longest is slow."""

import contextlib
import time
from collections.abc import Iterator

import torch


class ForwardClock:
    """Adds up the time of forward passes, on the device where there is one.

    Args:
        device: Where they compute.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin at zero."""
        self._device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done while this lasts; the host waits for nothing."""
        if self._device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._events.append((begin, end))
        else:
            begun_at = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - begun_at

    def take_s(self) -> float:
        """Return the time since the last call, s; waits for the passes that have begun."""
        for begin, end in self._events:
            end.synchronize()
            self._seconds += begin.elapsed_time(end) / 1000
        seconds, self._seconds, self._events = self._seconds, 0.0, []
        return seconds
