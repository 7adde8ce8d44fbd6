"""The tars of a set on a file system, read at any offset."""

import errno
import os
import resource
import stat
import weakref
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

# A quarter of what the process may open, 256 where the limit is the usual 1,024.
_SHARE_OF_OPEN_FILES = 4
_MOST_OPEN_FILES = 16_384


class ShardFiles(Protocol):
    """Where the tars of a set are."""

    def read(self, shard: int, size: int, offset: int) -> bytes:
        """Return `size` bytes of a tar from `offset`, fewer only at its end; called by threads.

        Raises:
            OSError: The tar cannot be read.
        """
        ...

    def want(self, shards: Iterable[int]) -> None:
        """Hear which tars will be read soon, in this order."""
        ...

    def place(self, shard: int) -> str:
        """Return path or address of a tar, for messages."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class LocalFiles:
    """Tars in a directory.

    They are opened when they are first asked for, and a bounded number is kept open.

    Args:
        directory: Where they are.
        names: Their names, by number.
        max_open_files: Most that are kept open; None follows the limit of the process.
    """

    def __init__(
        self, directory: Path, names: Sequence[str], *, max_open_files: int | None = None
    ) -> None:
        """Open nothing yet."""
        self._directory = directory
        self._names = names
        self._file = lru_cache(max_open_files or open_files_allowed())(self._open)

    def read(self, shard: int, size: int, offset: int) -> bytes:
        """Return `size` bytes of a tar from `offset`, fewer only at its end."""
        return self._file(shard).read(size, offset)

    def want(self, shards: Iterable[int]) -> None:
        """Do nothing: the tars are at hand."""

    def place(self, shard: int) -> str:
        """Return the path of a tar."""
        return str(self._directory / self._names[shard])

    def close(self) -> None:
        """Close the files."""
        self._file.cache_clear()

    def _open(self, shard: int) -> "OpenFile":
        return OpenFile(self._directory / self._names[shard])


def open_files_allowed() -> int:
    """Return how many tars may be kept open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_OPEN_FILES
    return min(max(soft // _SHARE_OF_OPEN_FILES, 1), _MOST_OPEN_FILES)


class OpenFile:
    """A regular file open for reading at any offset, closed when nothing refers to it any more.

    Dropped from a cache while another thread reads from it, it stays open until that read ends:
    the method holds a reference to its object.

    Raises:
        OSError: It cannot be opened, or is a pipe, a device or a directory.
    """

    def __init__(self, path: Path) -> None:
        """Open the file."""
        # O_NONBLOCK: to open a pipe would wait for whoever writes to it, for ever.
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))

    def is_linked(self) -> bool:
        """Whether the file still has a name; its space is given back when it has not."""
        return os.fstat(self._descriptor).st_nlink > 0

    def read(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only at the end of the file."""
        first = os.pread(self._descriptor, size, offset)
        if len(first) == size:
            return first
        parts, size, offset = [first], size - len(first), offset + len(first)
        while size and (part := os.pread(self._descriptor, size, offset)):
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)
