"""Encoded samples by position, from a shard set on a file system, each one checked.

Positions count through the tars in the order of the manifest. Indexes and tars are opened when a
sample of theirs is first asked for and at most a bounded number is kept open, so that a set of
100,000 shards costs no more to start on than one of ten.
"""

import json
import os
import resource
import weakref
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.errors import DataError
from retfm_dist.shard.index import SAMPLE_DTYPE, read_sample_index
from retfm_dist.shard.manifest import MANIFEST_NAME, read_manifest
from retfm_dist.shard.members import write_members

# Each tar has two files, and an index that is mapped into memory keeps its file open. A quarter
# of what the process may open goes to each kind: 256 where the limit is the usual 1,024. The
# upper bound stays below Linux's 65,530 memory maps per process.
_SHARE_OF_OPEN_FILES = 4
_MOST_OPEN_FILES = 16_384
_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True)
class SampleLocations:
    """Where the samples of a batch lie.

    Attributes:
        shards: int64 [B], number of each sample's tar in the manifest.
        rows: int64 [B], number of each sample in its tar.
        records: [B] of `SAMPLE_DTYPE`.
    """

    shards: NDArray[np.int64]
    rows: NDArray[np.int64]
    records: NDArray[np.void]


class ShardReader:
    """Reads a shard set.

    Args:
        shard_dir: The set's directory.
        num_threads: Reads in flight at once; they wait for storage, not for a core.
        max_open_files: Most tars, and most indexes, kept open; none follows the process's limit.

    Raises:
        ShardError: The set is incomplete or its manifest is damaged.
    """

    def __init__(
        self, shard_dir: Path, *, num_threads: int = 4, max_open_files: int | None = None
    ) -> None:
        """Read the manifest; indexes and tars are opened when they are needed."""
        if max_open_files is None:
            max_open_files = open_files_allowed()
        self._shard_dir = shard_dir
        self._manifest = read_manifest(shard_dir)
        self._tar_paths = [shard_dir / shard.name for shard in self._manifest.shards]
        counts = [shard.num_samples for shard in self._manifest.shards]
        # [shards + 1], the position of each tar's first sample, then the number of samples.
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._num_threads = num_threads
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="retfm-read")
        self._index = lru_cache(max_open_files)(self._open_index)
        self._tar = lru_cache(max_open_files)(self._open_tar)

    @property
    def num_samples(self) -> int:
        """Number of samples in the set."""
        return self._manifest.num_samples

    @property
    def fingerprint(self) -> str:
        """Hex digest that names the set's content."""
        return self._manifest.fingerprint

    def is_there(self) -> bool:
        """Whether the set still stands where it was opened; what is open can be read without it."""
        return (self._shard_dir / MANIFEST_NAME).is_file()

    def read_composition(self) -> dict[str, Any] | None:
        """Return the composition tables of the set; None where it has none."""
        if "cohort.json" not in {file.name for file in self._manifest.files}:
            return None
        try:
            return json.loads((self._shard_dir / "cohort.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                "cannot read the composition of the set",
                where=self._shard_dir / "cohort.json",
                got=error,
                hint="copy or build the set again",
            ) from error

    def write_members(self, path: Path) -> None:
        """Write which images and patients the set holds; see `shard.members`."""
        write_members(self._shard_dir, self._manifest, path)

    def locate(self, positions: NDArray[np.int64]) -> SampleLocations:
        """Look samples up in the indexes.

        Args:
            positions: int64 [B] in [0, num_samples).

        Raises:
            ShardError: An index is damaged.
            DataError: An index does not hold the number of samples that the manifest states.
        """
        shards = np.searchsorted(self._starts, positions, side="right") - 1
        rows = positions - self._starts[shards]
        records = np.empty(len(positions), dtype=SAMPLE_DTYPE)
        for shard in np.unique(shards):
            chosen = shards == shard
            records[chosen] = self._index(int(shard))[rows[chosen]]
        return SampleLocations(shards, rows, records)

    def read(self, locations: SampleLocations) -> list[NDArray[np.uint8]]:
        """Read and check the JPEG bytes of samples.

        Returns:
            One uint8 [size] array per sample, in order.

        Raises:
            DataError: A tar cannot be read, or a sample is not what its index says; the first
                such sample of the batch is named.
        """
        num_samples = len(locations.records)
        stride = -(-num_samples // self._num_threads)
        spans = [
            range(first, min(first + stride, num_samples))
            for first in range(0, num_samples, stride or 1)
        ]
        parts = self._pool.map(lambda span: self._read_span(locations, span), spans)
        return [jpeg for part in parts for jpeg in part]

    def describe(self, locations: SampleLocations) -> list[str]:
        """Return the source of each sample, for messages: its tar and its number in it."""
        return [
            f"{self._tar_paths[shard]}, sample {row}"
            for shard, row in zip(locations.shards.tolist(), locations.rows.tolist(), strict=True)
        ]

    def close(self) -> None:
        """Stop the reading threads and close the files."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._tar.cache_clear()
        self._index.cache_clear()

    def _read_span(
        self, locations: SampleLocations, span: Sequence[int]
    ) -> list[NDArray[np.uint8]]:
        shards, rows = locations.shards, locations.rows
        return [self._read_sample(int(shards[i]), int(rows[i]), locations.records[i]) for i in span]

    def _read_sample(self, shard: int, row: int, record: np.void) -> NDArray[np.uint8]:
        """Read one sample and compare it with its record."""
        size, crc32 = int(record["size"]), int(record["crc32"])
        where = f"{self._tar_paths[shard]}, sample {row}"
        hint = "run `python -m retfm_dist.shard verify --full` and copy or build the set again"
        try:
            jpeg = self._tar(shard).read(size, offset=int(record["offset"]))
        except OSError as error:
            raise DataError("cannot read the shard", where=where, got=error.strerror) from error
        if len(jpeg) != size:
            raise DataError(
                "the shard is truncated",
                where=where,
                got=f"{len(jpeg)} bytes",
                expected=f"{size}",
                hint=hint,
            )
        if zlib.crc32(jpeg) != crc32:
            raise DataError(
                "the sample is damaged",
                where=where,
                got=f"crc32 {zlib.crc32(jpeg):08x}",
                expected=f"{crc32:08x}",
                hint=hint,
            )
        if not (jpeg.startswith(_START_OF_IMAGE) and jpeg.endswith(_END_OF_IMAGE)):
            raise DataError(
                "the sample is not a whole JPEG",
                where=where,
                got=f"{jpeg[:2].hex()}...{jpeg[-2:].hex()}",
                expected=f"{_START_OF_IMAGE.hex()}...{_END_OF_IMAGE.hex()}",
                hint=hint,
            )
        return np.frombuffer(jpeg, dtype=np.uint8)

    def _open_index(self, shard: int) -> NDArray[np.void]:
        """Map the index of one tar."""
        entry = self._manifest.shards[shard]
        path = self._shard_dir / entry.index_name
        records = read_sample_index(path)
        if len(records) != entry.num_samples:
            raise DataError(
                "the index does not belong to its manifest",
                where=path,
                got=f"{len(records)} samples",
                expected=f"{entry.num_samples}",
                hint="copy or build the set again",
            )
        return records

    def _open_tar(self, shard: int) -> "_OpenFile":
        return _OpenFile(self._tar_paths[shard])


def open_files_allowed() -> int:
    """Return how many tars, and how many indexes, a reader may keep open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST_OPEN_FILES
    return min(max(soft // _SHARE_OF_OPEN_FILES, 1), _MOST_OPEN_FILES)


class _OpenFile:
    """A file open for reading at any offset, closed when nothing refers to it any more.

    Dropped from the cache while another thread reads from it, it stays open until that read ends:
    the method holds a reference to its object.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, size: int, *, offset: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only at the end of the file."""
        parts = []
        while size and (part := os.pread(self._descriptor, size, offset)):
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)
