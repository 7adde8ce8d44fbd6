"""Map a function over tasks in worker processes, results in order, memory bounded."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from retfm_dist.errors import WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")

_TASKS_PER_WORKER = 4


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int
) -> Generator[Result, None, None]:
    """Yield `function(task)` for every task, in the order of the tasks.

    Workers are spawned, not forked, so threads of the caller do no harm. At most four tasks per
    worker are under way or waiting to be consumed. One worker means this process itself.

    Args:
        function: Importable by name; its exceptions pass through.
        tasks: Picklable arguments, drawn as needed.
        workers: Number of processes.

    Raises:
        WorkerError: A worker process died, for lack of memory or in a crash.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    executor = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker
    )
    remaining = iter(tasks)
    try:
        pending: deque[Future[Result]] = deque(
            executor.submit(function, task)
            for task in islice(remaining, workers * _TASKS_PER_WORKER)
        )
        while pending:
            yield pending.popleft().result()
            pending.extend(executor.submit(function, task) for task in islice(remaining, 1))
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process died",
            got="a crash or a kill, often for lack of memory",
            hint="use fewer workers",
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
