"""Map a function over tasks in worker processes, results in order, memory bounded."""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from retfm_dist.errors import WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")

_TASKS_PER_WORKER = 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 29
_MAX_LOSSES_IN_A_ROW = 8


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    timeout_s: float | None = None,
    replace_lost: Callable[[str], Result] | None = None,
) -> Generator[Result, None, None]:
    """Yield `function(task)` for every task, in the order of the tasks.

    Workers are spawned, not forked, so threads of the caller do no harm. At most four tasks per
    worker are under way or waiting to be consumed. One worker means this process itself, unless
    there is a time limit.

    Args:
        function: Importable by name; its exceptions pass through.
        tasks: Picklable arguments, drawn as needed.
        workers: Number of processes.
        timeout_s: Longest that one task may take; then its worker is killed and replaced.
        replace_lost: Gives the result of a task whose worker died or took too long, from the
            reason; without it that is an error.

    Raises:
        WorkerError: A worker process died or took too long and `replace_lost` is None, or one
            after the other does, or none starts.
    """
    if workers == 1 and timeout_s is None:
        yield from map(function, tasks)
        return
    pool = ProcessPool(
        workers, context=multiprocessing.get_context("spawn"), initializer=_prepare_worker
    )
    remaining = iter(tasks)
    num_lost = 0

    def submit(count: int) -> list[ProcessFuture]:
        return [
            pool.schedule(function, args=(task,), timeout=timeout_s)
            for task in islice(remaining, count)
        ]

    try:
        pending = deque(submit(workers * _TASKS_PER_WORKER))
        while pending:
            future = pending.popleft()
            _check_started(future)
            reason = _why_lost(future)
            num_lost = num_lost + 1 if reason else 0
            if reason is None:
                yield future.result()
            elif replace_lost is not None and num_lost <= _MAX_LOSSES_IN_A_ROW:
                yield replace_lost(reason)
            else:
                raise WorkerError(
                    "a worker process died",
                    got=reason,
                    hint="a crash or a kill is often for lack of memory: use fewer workers",
                )
            pending.extend(submit(1))
        pool.close()
    finally:
        pool.stop()
        pool.join()


def _check_started(future: ProcessFuture) -> None:
    """Wait for a task; raise if no worker came up at all."""
    if isinstance(future.exception(), BrokenProcessPool):
        raise WorkerError(
            "no worker process starts",
            hint="what they said stands above; a script of your own starts them below "
            '`if __name__ == "__main__":`',
        )


def _why_lost(future: ProcessFuture) -> str | None:
    """Wait for a task; return why its process gave no result, or None where it gave one."""
    error = future.exception()
    if isinstance(error, ProcessExpired):
        return f"the process ended with exit code {error.exitcode}"
    # Pebble's own has the limit beside the text; another is the function's.
    if isinstance(error, FutureTimeoutError) and len(error.args) == 2:
        return f"no result within {error.args[1]:g} s"
    return None


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, however it ends."""
    _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _keep_memory() -> None:
    """Let the allocator keep large blocks between tasks (glibc's mallopt, see malloc.h).

    By default each array of a photograph is mapped anew and its pages are cleared by the kernel,
    at which two workers wait for each other: a sixth of the time of packing.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            library.mallopt(option, _KEPT_BYTES)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
