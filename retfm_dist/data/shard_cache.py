"""Files of an object store on the local disk, within a limit, shared by the processes of a host.

    CACHE/.room                  locked while room is made
    CACHE/SET/NAME               a file, whole: it gets this name when its last byte is there
    CACHE/SET/NAME.part          on its way
    CACHE/SET/NAME.lock          locked by whoever fetches it; holds its size
    CACHE/SET/NAME.fetched       a second name of it, so that only what was fetched is removed

Locks are the kernel's and go with their process: a killed one leaves a part behind, which the next
one overwrites. A file that is removed stays readable for whoever has it open.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.05
_PART, _LOCK, _FETCHED = ".part", ".lock", ".fetched"

Fetch = Callable[[Path], None]
"""Writes a file to a path."""


@dataclass(frozen=True)
class ShardCache:
    """A directory of fetched files.

    Attributes:
        root: The directory.
        limit_bytes: Most that the fetched files may take up.
    """

    root: Path
    limit_bytes: int

    def ensure(
        self,
        path: Path,
        fetch: Fetch,
        *,
        num_bytes: int | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a file be there; of several that ask, one process or thread fetches it.

        Args:
            path: The file, in a directory below the root.
            fetch: Fetches it.
            num_bytes: Its size; None for a small one that is never removed.
            on_wait: Called while another one's fetch goes on.

        Raises:
            OSError: It cannot be fetched or written, or is larger than the limit.
        """
        if self.touch(path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part, on_wait = _beside(path, _PART), _when_grows(_beside(path, _PART), on_wait)
        with _locked(_beside(path, _LOCK), on_wait=on_wait) as lock:
            if self.touch(path):
                return
            part.unlink(missing_ok=True)  # left behind by a process that was killed
            if num_bytes is not None:
                os.pwrite(lock, b"%20d" % num_bytes, 0)
                self._make_room(part, num_bytes)
            try:
                fetch(part)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            if num_bytes is not None:
                _beside(path, _FETCHED).unlink(missing_ok=True)
                # A hard link: what a note says of an inode could come true for another file.
                _beside(path, _FETCHED).hardlink_to(part)
            part.replace(path)

    def touch(self, path: Path) -> bool:
        """Whether a file is there; if so, it counts as used now."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:  # somebody else's, and readable
            return True
        return True

    def _make_room(self, part: Path, num_bytes: int) -> None:
        """Remove the least recently used of the fetched files until there is room for a part."""
        if num_bytes > self.limit_bytes:
            raise OSError(
                f"a file of {num_bytes / 1e9:.2f} GB does not fit into a cache of "
                f"{self.limit_bytes / 1e9:.2f} GB (data.cache_gb)"
            )
        with _locked(self.root / ".room", on_wait=lambda: None):
            fetched = sorted(self._fetched(), key=lambda item: item[1].st_mtime_ns)
            used = self._reserved() + sum(status.st_size for _, status in fetched)
            for path, status in fetched:
                if used + num_bytes <= self.limit_bytes:
                    break
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    _beside(path, _FETCHED).unlink()
                used -= status.st_size
            part.touch()  # counts from now on

    def _reserved(self) -> int:
        """Return what the files on their way will take up; drop those that nobody fetches."""
        total = 0
        for part in self.root.glob(f"*/*{_PART}"):
            lock = _beside(part.with_name(part.name.removesuffix(_PART)), _LOCK)
            with contextlib.suppress(OSError, ValueError), lock.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    part.unlink()
                except BlockingIOError:
                    total += int(file.read())
        return total

    def _fetched(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the files that are what was fetched under their names.

        Where somebody has removed or replaced a file, its second name goes, too.
        """
        for marker in self.root.glob(f"*/*{_FETCHED}"):
            path = marker.with_name(marker.name.removesuffix(_FETCHED))
            with contextlib.suppress(FileNotFoundError):
                if path.exists() and path.samefile(marker):
                    yield path, path.stat()
                elif not _beside(path, _PART).exists():
                    marker.unlink()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _when_grows(part: Path, tell: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `tell` whenever the part has grown since the last call."""
    last = -1

    def look() -> None:
        nonlocal last
        size = _size(part)
        if size != last:
            last = size
            tell()

    return look


@contextlib.contextmanager
def _locked(path: Path, *, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold the lock of a file, and yield it open; another one's lock is waited for."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                on_wait()
                time.sleep(_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)
