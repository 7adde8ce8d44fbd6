"""Time that the host needs for a step of training, while the device computes behind it."""

import contextlib
import time
from collections.abc import Iterator

import torch


class HostClock:
    """Finds the shortest time in which the host issues a step; it counts without data and waits.

    The shortest, because a host that is far ahead stops at the end of the device's queue, and then
    waits inside a step. Right after a value has been read back, the queue is empty.

    Args:
        device: Where the step is computed.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin without a step."""
        self._is_apart = device.type == "cuda"
        self._step_s = 0.0
        self._shortest_s: float | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count what the host does while this lasts towards the step in progress."""
        begun_at = time.perf_counter()
        yield
        self._step_s += time.perf_counter() - begun_at

    def end_step(self) -> None:
        """Begin with the next step."""
        self._shortest_s = min(self._step_s, self._shortest_s or self._step_s)
        self._step_s = 0.0

    def take_s(self) -> float | None:
        """Return the time of the shortest step since the last call, s.

        None where there was none, and where the host computes the step itself.
        """
        shortest_s, self._shortest_s = self._shortest_s, None
        return shortest_s if self._is_apart else None
