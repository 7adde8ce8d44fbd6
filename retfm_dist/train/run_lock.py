"""A lock that allows one writer per run directory.

A run killed hard may have orphans that still write for a second or two (see `orphans`), and the
same command may be started again at once. The lock goes with the process that holds it, however
that process ends.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from retfm_dist.errors import TrainError
from retfm_dist.locks import try_lock

logger = logging.getLogger(__name__)

_POLL_S = 0.5
WAIT_S = 60.0


@contextmanager
def hold_run_lock(
    path: Path,
    *,
    wait_s: float = WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock file `path` while the context lasts; it names this process.

    Args:
        path: The lock file; made if missing, left behind.
        wait_s: How long to wait for another holder to go.
        clock: Monotonic time, s.
        sleep: Waits so many seconds.

    Raises:
        TrainError: Another process still holds it after `wait_s`, or it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise TrainError(
            "cannot write to the run directory", where=path.parent, got=error.strerror
        ) from error
    try:
        _wait_for_lock(descriptor, path, wait_s, clock, sleep)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(
    descriptor: int,
    path: Path,
    wait_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    begun_at = clock()
    told = False
    while not try_lock(descriptor):
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        if clock() - begun_at >= wait_s:
            raise TrainError(
                "another process trains in this run directory",
                where=path.parent,
                got=f"process {holder}",
                hint="stop it, or set another run.dir",
            )
        if not told:
            logger.info(
                "waiting up to %.0f s for process %s to leave %s", wait_s, holder, path.parent
            )
            told = True
        sleep(_POLL_S)
