"""Directories that are either whole or absent under their final name.

A directory is filled under a temporary sibling name, flushed to disk, and renamed when it is
complete. A reader therefore never sees half of it, whatever moment the writer was killed at.
"""

import ctypes
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from retfm_dist.durable import sync_directory
from retfm_dist.errors import RetfmError
from retfm_dist.locks import lock_file

RESULT_NAME = "result"
"""Folder of a `kept_workspace` that becomes the result."""

_CURRENT_DIRECTORY, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""


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
    lock = lock_file(lock_path, wanted_for=path)
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
    lock = lock_file(lock_path, wanted_for=path)
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
