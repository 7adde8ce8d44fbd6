"""Advisory locks: one writer per path, released with the process that holds them."""

import errno
import fcntl
import logging
import os
from pathlib import Path

from retfm_dist.errors import RetfmError

logger = logging.getLogger(__name__)

_LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def try_lock(descriptor: int) -> bool:
    """Take the advisory lock of an open file without waiting; released when the process ends.

    A file system that knows no locks counts as locked, with a warning.

    Args:
        descriptor: Open for writing, which locks over NFS need.

    Returns:
        False if another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _LOCKS_UNSUPPORTED:
            raise
        logger.warning(
            "file locks are not supported here (%s); make sure that no other process writes here",
            error.strerror,
        )
    return True


def lock_file(path: Path, *, wanted_for: Path) -> int:
    """Make `path`, lock it and return the descriptor that holds the lock.

    Raises:
        RetfmError: Another process holds it; the message names `wanted_for`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # The holder before us may have removed the file that we opened.
        if try_lock(descriptor) and _is_open(descriptor, path):
            return descriptor
        raise RetfmError(
            "another process is writing it", where=wanted_for, hint="wait for it to end"
        )
    except BaseException:
        os.close(descriptor)
        raise


def _is_open(descriptor: int, path: Path) -> bool:
    """Whether a descriptor refers to the file that now has the name `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
