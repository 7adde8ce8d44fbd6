"""Files and directories that are either whole or absent under their final name.

A file is written to a temporary sibling, flushed to disk, and renamed. A directory is filled
under a temporary sibling name and renamed when it is complete. A reader therefore never sees
half of either, whatever moment the writer was killed at.
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from retfm_dist.errors import RetfmError

logger = logging.getLogger(__name__)

RESULT_NAME = "result"
"""Folder of a `kept_workspace` that becomes the result."""

_CHUNK_BYTES = 1 << 20
_CURRENT_DIRECTORY, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""
_SYNC_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
_LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync_directory(path: Path) -> None:
    """Flush a directory's entries, so that a rename in it survives a power cut.

    Network and removable file systems may not know how, and answer EINVAL; then nothing is done.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _SYNC_UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


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


@contextmanager
def open_atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file, which is moved to `path` on success and deleted on failure.

    Args:
        path: Final name; its directory is made if missing.
        mode: "wb" or "w" (text is UTF-8 with Unix line ends).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    try:
        with temporary.open(mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with open_atomic(path, "w") as file:
        file.write(text)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, atomically and reproducibly."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


@contextmanager
def staged_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of `path` that becomes `path` on success.

    On failure the temporary directory is removed; what a killed process left under that name is
    removed by the next one. An advisory lock keeps two live processes from filling it together.

    Raises:
        RetfmError: `path` exists, or another process is writing it.
    """
    if path.exists():
        raise _already_there(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.partial")
    lock_path = path.with_name(f".{path.name}.lock")
    lock = _lock_file(lock_path, wanted_for=path)
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        yield staging
        _sync_tree(staging)
        if path.exists():
            raise _already_there(path)
        staging.rename(path)
        sync_directory(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        lock_path.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def replaced_directory(path: Path, *, keep: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty temporary sibling that takes the place of `path` on success.

    The old directory is there whole until the new one is, in one step where the file system can
    exchange two names, and is then removed. What fails or is killed leaves it as it was.

    Args:
        path: Directory to make or to replace.
        keep: Names in the old directory that are moved into the new one.

    Raises:
        RetfmError: Another process is writing it.
    """
    new = path.with_name(f".{path.name}.new")
    old = path.with_name(f".{path.name}.old")
    _finish_exchange(path, new=new, old=old)
    _keep(new, path, keep)
    shutil.rmtree(new, ignore_errors=True)
    with staged_directory(new) as staging:
        yield staging
    if not path.exists():
        new.rename(path)
    else:
        if not exchange(new, path):
            path.rename(old)  # for a moment there is no directory; the next call would put it back
            new.rename(path)
            old.rename(new)
        _keep(new, path, keep)
        shutil.rmtree(new)
    sync_directory(path.parent)


def _finish_exchange(path: Path, *, new: Path, old: Path) -> None:
    """Bring three renames that were killed between two of them to a state before or after them."""
    if not old.exists():
        return
    if path.exists():
        shutil.rmtree(new, ignore_errors=True)
        old.rename(new)
    else:
        old.rename(path)


def _keep(old: Path, path: Path, names: Sequence[str]) -> None:
    for name in names:
        if (old / name).exists() and path.is_dir() and not (path / name).exists():
            (old / name).rename(path / name)


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two directories in one step; False where the system cannot.

    Source: renameat2(2), RENAME_EXCHANGE.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = (os.fsencode(first), os.fsencode(second))
    return rename(_CURRENT_DIRECTORY, paths[0], _CURRENT_DIRECTORY, paths[1], _EXCHANGE) == 0


@contextmanager
def kept_workspace(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling of `path` to work in, which stays when the work is interrupted.

    The next call finds in it what an earlier one left. On success its folder `result` becomes
    `path` and the rest is removed. An advisory lock keeps two live processes apart.

    Raises:
        RetfmError: `path` exists, or another process is writing it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = workspace_path(path)
    lock_path = path.with_name(f".{path.name}.lock")
    lock = _lock_file(lock_path, wanted_for=path)
    try:
        if path.exists():
            # Killed after the rename below: the result stands, the rest has no use.
            if not (workspace / RESULT_NAME).exists():
                shutil.rmtree(workspace, ignore_errors=True)
            raise _already_there(path)
        workspace.mkdir(exist_ok=True)
        yield workspace
        _sync_tree(workspace / RESULT_NAME)
        if path.exists():
            raise _already_there(path)
        (workspace / RESULT_NAME).rename(path)
        sync_directory(path.parent)
        shutil.rmtree(workspace, ignore_errors=True)
    finally:
        lock_path.unlink(missing_ok=True)
        os.close(lock)


def workspace_path(path: Path) -> Path:
    """Return the directory in which `path` is being made."""
    return path.with_name(f".{path.name}.partial")


def _already_there(path: Path) -> RetfmError:
    return RetfmError(
        "already exists", where=path, hint="choose another output, or remove it first"
    )


def _lock_file(path: Path, *, wanted_for: Path) -> int:
    """Make `path`, lock it and return the descriptor that holds the lock."""
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


def _sync_tree(root: Path) -> None:
    """Flush every file and directory below `root`."""
    for directory, _, names in os.walk(root):
        for name in names:
            with (Path(directory) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(Path(directory))


def equalize_permissions(directory: Path) -> None:
    """Give every file of a directory the permissions of a plain new one, as the umask has it.

    Some libraries make their files private, and a directory of which a colleague can read half is
    taken for damaged.
    """
    probe = directory / ".permissions"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in directory.iterdir():
        path.chmod(mode)
