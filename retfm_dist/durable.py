"""Files that are either whole or absent under their final name.

A file is written to a temporary sibling, flushed to disk, and renamed. A reader therefore never
sees half of it, whatever moment the writer was killed at.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_CHUNK_BYTES = 1 << 20
_SYNC_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


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
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """Return `value` as indented JSON with sorted keys."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
