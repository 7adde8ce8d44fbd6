"""Map a function over tasks in worker processes, results in order, memory bounded."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from queue import LifoQueue
from typing import TypeVar

from retfm_dist.errors import WorkerError
from retfm_dist.worker_process import LostTaskError, NotStartedError, WorkerProcess

Task = TypeVar("Task")
Result = TypeVar("Result")

_TASKS_PER_WORKER = 4
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
            after the other does, or one does not start.
    """
    if workers == 1 and timeout_s is None:
        yield from map(function, tasks)
        return
    remaining = iter(tasks)
    num_lost = 0
    with _start_workers(function, workers, timeout_s) as submit:
        pending = deque(map(submit, islice(remaining, workers * _TASKS_PER_WORKER)))
        while pending:
            future = pending.popleft()
            lost = _why_lost(future)
            num_lost = num_lost + 1 if lost else 0
            if lost is None:
                yield future.result()
            elif replace_lost is not None and num_lost <= _MAX_LOSSES_IN_A_ROW:
                yield replace_lost(lost)
            else:
                raise WorkerError(
                    "a worker process died",
                    got=lost,
                    hint="a crash or a kill is often for lack of memory: use fewer workers",
                )
            pending.extend(map(submit, islice(remaining, 1)))


@contextmanager
def _start_workers(
    function: Callable[[Task], Result], count: int, timeout_s: float | None
) -> Iterator[Callable[[Task], Future[Result]]]:
    """Give what hands a task to the next free worker; end all workers when left."""
    workers = [WorkerProcess(function, timeout_s) for _ in range(count)]
    # The one that was free last comes first, so that few tasks start few processes.
    free: LifoQueue[WorkerProcess] = LifoQueue()
    for worker in workers:
        free.put(worker)

    def run(task: Task) -> Result:
        worker = free.get()
        try:
            return worker.run(task)
        finally:
            free.put(worker)

    threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
    try:
        yield partial(threads.submit, run)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.stop()
        threads.shutdown()
        for worker in workers:
            worker.close()


def _why_lost(future: Future) -> str | None:
    """Wait for a task; return why its process gave no result, or None where it gave one."""
    error = future.exception()
    if isinstance(error, NotStartedError):
        raise WorkerError(
            "a worker process does not start",
            got=error,
            hint="what it said stands above, a kill is often for lack of memory; a script of your "
            'own starts them below `if __name__ == "__main__":`',
        )
    return str(error) if isinstance(error, LostTaskError) else None
