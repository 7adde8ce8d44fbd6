"""Files in an object store: the one module that imports fsspec.

Reads are short and repeated: a store that answers 503, is slow or has gone for a while is asked
again, ever less often, until `timeout_s` have passed without a byte.
"""

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from retfm_dist.errors import ConfigError

_CHUNK_BYTES = 8 << 20
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0

Answer = TypeVar("Answer")


class ObjectStore:
    """The files below one address of an object store.

    Args:
        address: Such as s3://bucket/prefix; any protocol that fsspec knows.
        timeout_s: Longest time without a byte.

    Raises:
        ConfigError: The protocol is unknown, or its library is not installed.
    """

    def __init__(self, address: str, *, timeout_s: float) -> None:
        """Connect to nothing yet."""
        self.address = address
        self._timeout_s = timeout_s
        self._files, self._root = _open_file_system(address, timeout_s)

    def identity(self, name: str) -> str:
        """Return what changes when a file does, such as its ETag.

        Raises:
            OSError: The store refuses, or does not answer.
        """
        return self._insist(lambda: str(self._files.ukey(f"{self._root}/{name}")))

    def exists(self, name: str) -> bool:
        """Whether there is such a file.

        Raises:
            OSError: The store refuses, or does not answer.
        """
        return bool(self._insist(lambda: self._files.exists(f"{self._root}/{name}")))

    def download(
        self, name: str, path: Path, *, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        """Copy a file of the store.

        Args:
            name: Which.
            path: Where to; overwritten.
            on_progress: Called after each piece.

        Raises:
            OSError: The store refuses, does not answer (TimeoutError), or the disk is full.
        """
        source = f"{self._root}/{name}"
        num_bytes = int(self._insist(lambda: self._files.info(source)["size"]))
        with path.open("wb") as file:
            for begin in range(0, num_bytes, _CHUNK_BYTES):
                end = min(begin + _CHUNK_BYTES, num_bytes)
                file.write(self._insist(lambda b=begin, e=end: self._piece(source, b, e)))
                on_progress()

    def list_files(self) -> set[str]:
        """Return the names of all files below the address; none where there is no such place.

        Raises:
            OSError: The store refuses, or does not answer.
        """
        try:
            found = self._insist(lambda: self._files.find(self._root))
        except FileNotFoundError:
            return set()
        return {name.removeprefix(self._root).lstrip("/") for name in found}

    def upload(self, path: Path, name: str) -> None:
        """Write a file, in place of the one of that name.

        Args:
            path: What to copy.
            name: Where to.

        Raises:
            OSError: The store refuses, does not answer (TimeoutError), or `path` has gone.
        """
        self._insist(lambda: self._files.put_file(str(path), f"{self._root}/{name}"))

    def remove(self, name: str) -> None:
        """Remove a file; one that has gone already is none to remove.

        Raises:
            OSError: The store refuses, or does not answer.
        """
        with contextlib.suppress(FileNotFoundError):
            self._insist(lambda: self._files.rm_file(f"{self._root}/{name}"))

    def _piece(self, source: str, begin: int, end: int) -> bytes:
        piece = self._files.cat_file(source, start=begin, end=end)
        if len(piece) != end - begin:
            raise ConnectionError(f"{len(piece)} of {end - begin} bytes came")
        return piece

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer, a refusal that stays one, or no time left."""
        deadline = time.monotonic() + self._timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return ask()
            except (FileNotFoundError, PermissionError, IsADirectoryError):
                raise
            # Whatever a client library raises for a store that is overloaded or has gone.
            except Exception as error:
                if time.monotonic() + pause_s > deadline:
                    raise TimeoutError(
                        f"no answer within {self._timeout_s:g} s; at last: "
                        f"{type(error).__name__}: {error}"
                    ) from error
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # spreads the ranks out
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _open_file_system(address: str, timeout_s: float) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the path in it."""
    import fsspec

    protocol = address.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if protocol in ("file", "local"):
        options["auto_mkdir"] = True
    if protocol in ("s3", "s3a"):
        # One attempt: `ObjectStore` repeats, and knows how long.
        options["config_kwargs"] = {
            "connect_timeout": min(timeout_s, 5.0),
            "read_timeout": min(timeout_s, 10.0),
            "retries": {"max_attempts": 0},
        }
    try:
        files, root = fsspec.core.url_to_fs(address, **options)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            "cannot use this kind of store",
            where=address,
            got=error,
            hint="install what its protocol needs: pip install 'retfm_dist[s3]' for s3://, gcsfs "
            "for gs://, adlfs for abfs://",
        ) from error
    if hasattr(files, "retries"):
        files.retries = 1
    return files, root.rstrip("/")
