"""The tars of a set in an object store, fetched whole before they are read, and ahead of time."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from retfm_dist.data.shard_cache import ShardCache
from retfm_dist.data.shard_files import OpenFile
from retfm_dist.data.timed_calls import note_progress
from retfm_dist.object_store import ObjectStore

_NUM_FETCHERS = 4
_TOUCH_EVERY_S = 10.0
_WAIT_S = 0.1
_REFUSED_FOR_S = 60.0
_RACES = 3


class _Fetch:
    """One tar on its way."""

    def __init__(self) -> None:
        self.is_done = threading.Event()
        self.error: OSError | None = None


class RemoteFiles:
    """Tars in an object store.

    Args:
        store: Where they are.
        cache: Where they are kept.
        directory: Of the set, in the cache.
        names: Their names, by number.
        num_bytes: Their sizes, by number.
        max_open_files: Most that are kept open.
    """

    def __init__(
        self,
        store: ObjectStore,
        cache: ShardCache,
        directory: Path,
        *,
        names: Sequence[str],
        num_bytes: Sequence[int],
        max_open_files: int,
    ) -> None:
        """Start the fetching threads."""
        self._store = store
        self._cache = cache
        self._directory = directory
        self._names = names
        self._num_bytes = num_bytes
        self._max_open_files = max_open_files
        self._open: OrderedDict[int, tuple[OpenFile, float]] = OrderedDict()
        self._refused: dict[int, tuple[OSError, float]] = {}
        self._fetches: dict[int, _Fetch] = {}
        self._waiting: list[int] = []
        self._progress_at = time.monotonic()
        self._changed = threading.Condition()
        self._is_closed = False
        # Daemons: an interpreter that ends must not wait for a store.
        self._threads = [
            threading.Thread(target=self._run, name="retfm-fetch", daemon=True)
            for _ in range(_NUM_FETCHERS)
        ]
        for thread in self._threads:
            thread.start()

    def read(self, shard: int, size: int, offset: int) -> bytes:
        """Return `size` bytes of a tar from `offset`, fewer only at its end."""
        return self._file(shard).read(size, offset)

    def want(self, shards: Iterable[int]) -> None:
        """Fetch tars that will be read soon, in this order, after those that are wanted already."""
        with self._changed:
            for shard in shards:
                if shard not in self._open and not self._is_refused(shard):
                    self._start(shard, is_urgent=False)

    def place(self, shard: int) -> str:
        """Return the address of a tar."""
        return f"{self._store.address}/{self._names[shard]}"

    def close(self) -> None:
        """Close the files and end the threads; one that waits for the store ends later."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._open.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(1.0)

    def _file(self, shard: int) -> OpenFile:
        """Return an open tar, fetched first where it is not at hand."""
        for _ in range(_RACES):
            with self._changed:
                if shard in self._open:
                    return self._used(shard)
            self._await(shard)
            with contextlib.suppress(FileNotFoundError):  # removed again by another process
                return self._keep(shard, OpenFile(self._directory / self._names[shard]))
        raise OSError("the cache is too small: what is fetched is removed before it is read")

    def _used(self, shard: int) -> OpenFile:
        """Return an open tar, and keep it from being the first to be removed."""
        file, touched_at = self._open.pop(shard)
        now = time.monotonic()
        if now - touched_at > _TOUCH_EVERY_S:
            self._cache.touch(self._directory / self._names[shard])
            touched_at = now
        self._open[shard] = file, touched_at
        return file

    def _keep(self, shard: int, file: OpenFile) -> OpenFile:
        """Add an open tar; those that were removed meanwhile are closed, to give space back."""
        with self._changed:
            self._open = OrderedDict(
                (number, item) for number, item in self._open.items() if item[0].is_linked()
            )
            while len(self._open) >= self._max_open_files:
                self._open.popitem(last=False)
            self._open[shard] = file, time.monotonic()
        return file

    def _await(self, shard: int) -> None:
        """Wait until a tar is there; what the fetch raises is raised here."""
        with self._changed:
            if self._is_refused(shard):
                raise self._refused[shard][0]
            fetch = self._start(shard, is_urgent=True)
        # Of any fetch: this one may stand in line behind others that the store does answer.
        seen_at = self._progress_at
        while not fetch.is_done.wait(_WAIT_S):
            if self._progress_at != seen_at:
                seen_at = self._progress_at
                note_progress()
        if fetch.error is not None:
            raise fetch.error

    def _start(self, shard: int, *, is_urgent: bool) -> _Fetch:
        """Return the fetch of a tar, begun if need be, and put it first if it is urgent."""
        if shard not in self._fetches:
            self._fetches[shard] = _Fetch()
            self._waiting.append(shard)
        if is_urgent and shard in self._waiting:
            self._waiting.remove(shard)
            self._waiting.insert(0, shard)
        self._changed.notify()
        return self._fetches[shard]

    def _is_refused(self, shard: int) -> bool:
        """Whether the store has refused a tar just now."""
        if shard not in self._refused:
            return False
        if time.monotonic() - self._refused[shard][1] > _REFUSED_FOR_S:
            del self._refused[shard]
            return False
        return True

    def _run(self) -> None:
        """Fetch one tar after the other; runs in threads."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                shard = self._waiting.pop(0)
                fetch = self._fetches[shard]
            try:
                self._fetch(shard)
            except OSError as error:
                fetch.error = error
            except Exception as error:  # a reader waits, and must hear of it
                fetch.error = OSError(f"{type(error).__name__}: {error}")
            with self._changed:
                del self._fetches[shard]
                if fetch.error is not None:
                    self._refused[shard] = fetch.error, time.monotonic()
            fetch.is_done.set()

    def _fetch(self, shard: int) -> None:
        """Fetch a tar, or wait for another process that does."""
        name = self._names[shard]

        def note() -> None:
            self._progress_at = time.monotonic()

        self._cache.ensure(
            self._directory / name,
            lambda path: self._store.download(name, path, on_progress=note),
            num_bytes=int(self._num_bytes[shard]),
            on_wait=note,
        )
