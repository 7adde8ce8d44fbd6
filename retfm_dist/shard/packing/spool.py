"""Packed images on disk between table order and shuffled order, kept over interruptions.

The order of a set depends on the content of all its files, which is known only once each has
been read. Reading an archive twice costs far more than writing the small JPEGs twice, so they
wait here: 64 files of JPEGs, each for one range of sorting keys, and one file with a line of
facts per source. Shards are written in sorted order, and a file of JPEGs goes as soon as its
shards stand, so that the whole takes little more disk than the tars.

A line is written after its JPEG and carries a checksum, so whatever moment the process is killed
at, each line that can be read stands for an image that can be read.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from retfm_dist.durable import write_json
from retfm_dist.errors import ShardError
from retfm_dist.image.field_of_view import FieldOfView
from retfm_dist.shard.packing.pack import Packed, PackedFacts, Rejection, Stamp
from retfm_dist.shard.plan import order_key

logger = logging.getLogger(__name__)

_BUCKET_BITS = 6
_TERMS_NAME, _FACTS_NAME = "terms.json", "facts"
# What reading says of a file may be another tomorrow; what decoding says of its bytes is not.
_KEPT_STAGES = frozenset({"decode", "field_of_view"})


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """What waits for one source file.

    Attributes:
        stamp: Of the source file when it was packed.
        outcome: Facts of the packed image, or why there is none.
        order: 64-bit sorting key of the image; 0 without one.
        offset: Where its JPEG begins in its bucket, bytes.
        size: Length of the JPEG, bytes.
        crc32: Of the JPEG.
    """

    stamp: Stamp
    outcome: PackedFacts | Rejection
    order: int = 0
    offset: int = 0
    size: int = 0
    crc32: int = 0

    @property
    def bucket(self) -> int:
        """Number of the file that the JPEG waits in."""
        return self.order >> (64 - _BUCKET_BITS)


class Spool:
    """A directory of bucket files and facts, continued where an earlier process left it."""

    def __init__(self, directory: Path, *, seed: int, terms: Mapping[str, Any]) -> None:
        """Open the directory, or begin anew where it was made under other terms.

        Args:
            directory: Made if missing.
            seed: Seed of the order of the set.
            terms: All that shapes a packed image, as JSON values.
        """
        self._directory = directory
        self._seed = seed
        terms = {**terms, "seed": seed}
        if _read_terms(directory) != terms:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            write_json(directory / _TERMS_NAME, terms)
        self._entries = dict(self._read_facts())
        # Unbuffered: what is written survives the process.
        self._facts = (directory / _FACTS_NAME).open("ab", buffering=0)
        self._buckets: dict[int, BinaryIO] = {}

    def __len__(self) -> int:
        """Return the number of source files that need not be packed again."""
        return len(self._entries)

    def find(self, source: str) -> SpoolEntry | None:
        """Return what waits for a source, or None.

        Args:
            source: Name of the source file, as given to `add`.
        """
        return self._entries.get(source)

    def add(self, source: str, packed: Packed) -> SpoolEntry:
        """Store the result of packing one source; replaces an earlier one."""
        outcome = packed.outcome
        if isinstance(outcome, Rejection):
            entry = SpoolEntry(packed.stamp or (0, 0), outcome)
            if packed.stamp is None or outcome.stage not in _KEPT_STAGES:
                return entry
        else:
            order = order_key(outcome.source_sha256, seed=self._seed)
            bucket = self._bucket(order >> (64 - _BUCKET_BITS))
            offset = bucket.seek(0, 2)
            bucket.write(packed.jpeg)
            entry = SpoolEntry(
                packed.stamp or (0, 0),
                outcome,
                order,
                offset,
                len(packed.jpeg),
                zlib.crc32(packed.jpeg),
            )
        self._facts.write(_render(source, entry))
        self._entries[source] = entry
        return entry

    def read(self, entry: SpoolEntry) -> bytes:
        """Return the JPEG of an entry.

        Raises:
            ShardError: It is not as it was written.
        """
        bucket = self._bucket(entry.bucket)
        bucket.seek(entry.offset)
        jpeg = bucket.read(entry.size)
        if zlib.crc32(jpeg) != entry.crc32:
            raise ShardError(
                "what an interrupted build left is damaged",
                where=self._directory,
                hint="remove the directory and build again",
            )
        return jpeg

    def holds(self, entry: SpoolEntry) -> bool:
        """Whether the JPEG of an entry has not been dropped."""
        return self._path(entry.bucket).exists()

    def drop_before(self, order: int) -> None:
        """Delete the files in which every JPEG sorts before `order`."""
        for bucket in range(order >> (64 - _BUCKET_BITS)):
            file = self._buckets.pop(bucket, None)
            if file is not None:
                file.close()
            self._path(bucket).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything, so that all is packed again."""
        for bucket in [*self._buckets]:
            self._buckets.pop(bucket).close()
        for bucket in range(1 << _BUCKET_BITS):
            self._path(bucket).unlink(missing_ok=True)
        self._facts.truncate(0)
        self._entries.clear()

    def close(self) -> None:
        """Close the files; they stay."""
        self._facts.close()
        for file in self._buckets.values():
            file.close()

    def _read_facts(self) -> Iterator[tuple[str, SpoolEntry]]:
        """Yield what an earlier process stored; a line that it was killed over is cut off."""
        path = self._directory / _FACTS_NAME
        if not path.exists():
            return
        sizes = {
            bucket: self._path(bucket).stat().st_size
            for bucket in range(1 << _BUCKET_BITS)
            if self._path(bucket).exists()
        }
        with path.open("rb+") as file:
            end = 0
            for line in file:
                found = _parse(line)
                if found is None:
                    break
                end += len(line)
                source, entry = found
                # A bucket that is gone was written to shards; one that is too short lost data.
                if entry.offset + entry.size <= sizes.get(entry.bucket, 1 << 63):
                    yield source, entry
            file.truncate(end)

    def _bucket(self, number: int) -> BinaryIO:
        if number not in self._buckets:
            self._buckets[number] = self._path(number).open("a+b", buffering=0)
        return self._buckets[number]

    def _path(self, bucket: int) -> Path:
        return self._directory / f"{bucket:02d}"


def _read_terms(directory: Path) -> Any:
    try:
        return json.loads((directory / _TERMS_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _render(source: str, entry: SpoolEntry) -> bytes:
    """Return an entry's line: checksum and JSON."""
    facts = json.dumps([source, asdict(entry)], separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(facts), facts)


def _parse(line: bytes) -> tuple[str, SpoolEntry] | None:
    """Read a line; None where it was not written to its end."""
    facts = line[9:-1]
    if line[-1:] != b"\n" or line[:8] != b"%08x" % zlib.crc32(facts):
        return None
    source, values = json.loads(facts)
    outcome = values.pop("outcome")
    stamp = tuple(values.pop("stamp"))
    if "stage" in outcome:
        return source, SpoolEntry(stamp, Rejection(**outcome), **values)
    field = outcome.pop("field_of_view")
    if field["frame"] is not None:
        field["frame"] = tuple(field["frame"])
    return source, SpoolEntry(
        stamp, PackedFacts(**outcome, field_of_view=FieldOfView(**field)), **values
    )
