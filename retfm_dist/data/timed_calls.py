"""Calls that wait for storage, in threads, each with a time limit.

A thread that waits for dead storage cannot be stopped from within its process. It is left behind,
another takes its place, and its answer is dropped when it comes after all. The threads are
daemons: an interpreter that ends does not wait for them, as the standard pool would.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


# A thread that begins at least _QUICK items every _GLANCE_S seconds is not waiting for storage;
# more threads would only compete with it for the interpreter lock.
_GLANCE_S = 0.001
_QUICK = 10


class NotTriedError(TimeoutError):
    """A call that was not begun, because those before it ran out of time."""


_this_thread = threading.local()


def note_progress() -> None:
    """Say from within a call that it goes on: its time begins anew. Elsewhere it does nothing."""
    worker: _Worker | None = getattr(_this_thread, "worker", None)
    if worker is not None and worker.current is not None:
        worker.current = worker.current[0], time.monotonic()


class _Job(Generic[Item, Answer]):
    """One call of `TimedCalls.map`."""

    def __init__(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> None:
        self.function = function
        self.items = items
        # What nobody answers was not tried: a thread may be left behind just as it takes an item.
        self.answers: list[Any] = [NotTriedError("not tried, storage does not answer")] * len(items)
        self.next_item = itertools.count().__next__  # atomic: one call of C code
        self.worker_left = threading.Semaphore(0)


class _Worker:
    """A thread and what it is at."""

    def __init__(self, name: str) -> None:
        self.jobs: SimpleQueue[_Job[Any, Any] | None] = SimpleQueue()
        self.current: tuple[int, float] | None = None
        self.is_abandoned = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        _this_thread.worker = self
        while not self.is_abandoned and (job := self.jobs.get()) is not None:
            while not self.is_abandoned and (i := job.next_item()) < len(job.items):
                self.current = i, time.monotonic()
                try:
                    answer = job.function(job.items[i])
                except BaseException as error:  # handed to whoever asked
                    answer = error
                if self.is_abandoned:
                    return
                job.answers[i] = answer
            self.current = None
            if not self.is_abandoned:
                job.worker_left.release()

    def answers_alone(self, job: _Job[Any, Any]) -> bool:
        """Wait while this thread, the only one at a job, is quick; return whether it is done."""
        num_before = 0
        while not job.worker_left.acquire(timeout=_GLANCE_S):
            current = self.current
            num_begun = 0 if current is None else current[0] + 1
            if num_begun - num_before < _QUICK:
                return False
            num_before = num_begun
        return True

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)


class TimedCalls:
    """Threads that call a function for one item after the other.

    Args:
        num_threads: Calls in flight at once.
        timeout_s: Longest that a call may take.
        name: Name of the threads.
    """

    def __init__(self, num_threads: int, *, timeout_s: float, name: str) -> None:
        """Start the threads."""
        self._timeout_s = timeout_s
        self._name = name
        self._lock = threading.Lock()
        self._workers = [_Worker(name) for _ in range(num_threads)]

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Sequence[Item],
        *,
        on_wait: Callable[[Item, float], None],
    ) -> list[Answer | BaseException]:
        """Return the answer to each item, in order; one map at a time.

        One thread begins; the others join it where it has to wait.

        Where the function raises, the answer is the exception; where it takes longer than the
        limit, a TimeoutError. Once as many calls have run out of time as there are threads, the
        items that nobody has begun get a NotTriedError.

        Args:
            function: What to call.
            items: What with.
            on_wait: Told once of an item that has taken a quarter of its time, and of its seconds.
        """
        if not items:
            return []
        with self._lock:
            job = _Job(function, items)
            busy = self._workers[: len(items)]
            busy[0].jobs.put(job)
            if not busy[0].answers_alone(job):
                for worker in busy[1:]:
                    worker.jobs.put(job)
                self._wait_for(job, busy, on_wait)
            return job.answers

    def close(self) -> None:
        """End the threads that can be ended."""
        for worker in self._workers:
            worker.jobs.put(None)
        for worker in self._workers:
            worker.join(1.0)

    def _wait_for(
        self, job: _Job[Any, Any], busy: list[_Worker], on_wait: Callable[[Any, float], None]
    ) -> None:
        """Wait until every worker at a job has left it or been left behind."""
        num_busy = len(busy)
        told: set[int] = set()
        num_late = 0
        while num_busy:
            # Wakes up only where storage is slow: otherwise the workers are done before.
            if job.worker_left.acquire(timeout=min(self._timeout_s / 8, 1.0)):
                num_busy -= 1
                continue
            for worker in list(busy):
                if self._is_late(worker, job, told, on_wait):
                    num_late += 1
                    busy.remove(worker)
                    fresh = self._replace(worker)
                    if num_late < len(self._workers):
                        fresh.jobs.put(job)
                        busy.append(fresh)
                    else:
                        num_busy -= 1
                        self._give_up(job)

    def _is_late(
        self,
        worker: _Worker,
        job: _Job[Any, Any],
        told: set[int],
        on_wait: Callable[[Any, float], None],
    ) -> bool:
        """Whether a worker's call has run out of time; its answer is then filled in."""
        current = worker.current
        if current is None:
            return False
        i, begun_at = current
        seconds = time.monotonic() - begun_at
        if seconds > self._timeout_s / 4 and i not in told:
            told.add(i)
            on_wait(job.items[i], seconds)
        if seconds <= self._timeout_s:
            return False
        worker.is_abandoned = True
        job.answers[i] = TimeoutError(f"no answer within {self._timeout_s:g} s")
        return True

    def _replace(self, worker: _Worker) -> _Worker:
        """Put a new thread in the place of one that is left behind."""
        fresh = _Worker(self._name)
        self._workers[self._workers.index(worker)] = fresh
        return fresh

    def _give_up(self, job: _Job[Any, Any]) -> None:
        """Take the items that nobody has begun."""
        while job.next_item() < len(job.items):
            pass
