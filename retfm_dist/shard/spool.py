"""Temporary storage of packed images between table order and shuffled order.

The order of a set depends on the content of all its files, which is known only once each has
been read. Reading an archive twice costs far more than writing the small JPEGs twice, so they
wait here: 64 files, each for one range of sorting keys. Reading back in sorted order stays
within one file at a time, and a file goes as soon as it has been read, so that the whole takes
little more disk than the tars.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from retfm_dist.shard.plan import order_key
from retfm_dist.shard.sample import Sample
from retfm_dist.shard.tar import member_bytes

_BUCKET_BITS = 6


@dataclass(frozen=True, order=True, slots=True)
class SpoolEntry:
    """Where a packed image waits; entries sort in the order of the set.

    Attributes:
        order: 64-bit sorting key.
        offset: Where its facts begin in the bucket, bytes.
        facts_size: Length of its facts, bytes.
        jpeg_size: Length of its JPEG, bytes.
        tar_size: Bytes its two members will take in a tar.
    """

    order: int
    offset: int
    facts_size: int
    jpeg_size: int
    tar_size: int

    @property
    def bucket(self) -> int:
        """Number of the file it waits in."""
        return self.order >> (64 - _BUCKET_BITS)


class Spool:
    """A directory of bucket files, filled first, then read once in sorted order."""

    def __init__(self, directory: Path, *, seed: int) -> None:
        """Make the directory and its files."""
        directory.mkdir()
        self._directory = directory
        self._seed = seed
        self._entries: list[SpoolEntry] = []
        self._files: list[BinaryIO] = [
            self._path(bucket).open("w+b") for bucket in range(1 << _BUCKET_BITS)
        ]
        self._oldest = 0

    def add(self, sample: Sample, jpeg: bytes) -> None:
        """Store one packed image."""
        facts = json.dumps(asdict(sample)).encode("ascii")
        order = order_key(sample.source_sha256, seed=self._seed)
        file = self._files[order >> (64 - _BUCKET_BITS)]
        self._entries.append(
            SpoolEntry(
                order=order,
                offset=file.tell(),
                facts_size=len(facts),
                jpeg_size=len(jpeg),
                tar_size=member_bytes(len(jpeg)) + member_bytes(len(sample.sidecar())),
            )
        )
        file.write(facts)
        file.write(jpeg)

    def sorted_entries(self) -> Sequence[SpoolEntry]:
        """Return all entries in the order of the set."""
        return sorted(self._entries)

    def read(self, entry: SpoolEntry) -> tuple[Sample, bytes]:
        """Read a packed image back; files that sort before it are deleted."""
        while self._oldest < entry.bucket:
            self._drop(self._oldest)
            self._oldest += 1
        file = self._files[entry.bucket]
        file.seek(entry.offset)
        facts = json.loads(file.read(entry.facts_size))
        return Sample(**facts), file.read(entry.jpeg_size)

    def close(self) -> None:
        """Remove the directory."""
        for bucket in range(self._oldest, len(self._files)):
            self._drop(bucket)
        self._directory.rmdir()

    def _drop(self, bucket: int) -> None:
        self._files[bucket].close()
        self._path(bucket).unlink()

    def _path(self, bucket: int) -> Path:
        return self._directory / f"{bucket:02d}"
