"""Prefetching in one background thread with a bounded queue."""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


class Prefetcher(Generic[Item]):
    """Iterates over `items` in a thread, at most `depth` items ahead.

    An exception of `items` reaches the consumer in its turn, after the items before it, and
    again at every later call. `close` ends the thread after the item it is working on, and
    closes `items` in that thread.

    Args:
        items: What to iterate over; used by the thread alone from now on.
        depth: Most items held ready.
        name: Name of the thread.
    """

    def __init__(self, items: Iterator[Item], *, depth: int, name: str) -> None:
        """Start the thread."""
        assert depth >= 1, f"depth is {depth}"
        self._items = items
        self._depth = depth
        self._ready: deque[Item] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._is_finished = False
        self._is_closed = False
        # A daemon: an interpreter that ends without `close` must not wait for storage.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __iter__(self) -> "Prefetcher[Item]":
        """Return itself."""
        return self

    def __next__(self) -> Item:
        """Wait for the next item."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_finished or self._is_closed)
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def close(self, *, timeout_s: float = 30.0) -> None:
        """End the thread and drop what it prepared; may be called again.

        Args:
            timeout_s: Longest wait for the item in work; a thread stuck in dead storage is left
                behind with a warning, and ends with the process.
        """
        with self._changed:
            self._is_closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.warning("thread %s has not ended within %g s", self._thread.name, timeout_s)

    def _run(self) -> None:
        """Fill the queue until the items end or fail, or the prefetcher is closed."""
        error = None
        try:
            for item in self._items:
                if not self._offer(item):
                    break
        except BaseException as caught:
            error = caught
        try:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        except BaseException as caught:
            error = error or caught  # the first one is the cause
        # Whatever happened above, a consumer that waits is told.
        with self._changed:
            self._error = error
            self._is_finished = True
            self._changed.notify_all()

    def _offer(self, item: Item) -> bool:
        """Queue an item when there is room; return False if the prefetcher was closed."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._depth or self._is_closed)
            if self._is_closed:
                return False
            self._ready.append(item)
            self._changed.notify_all()
            return True
