"""The compact index `set.index` of a whole shard set: names, sizes and one record per sample.

    bytes 0..127   header: magic "RETFMSET", version, sizes, sha256 of manifest.json, fingerprint
    shards         one packed 24-byte entry per tar: first position, bytes, end of its name
    names          the tars' names, one after the other
    zeros          up to a multiple of 32
    records        one packed 32-byte record per sample, in the order of the set

All integers are little-endian. It is derived from manifest.json and the `.samples` files and says
nothing new: it is not in the manifest, and may be removed and made again at any time
(`python -m retfm_dist.shard index DIR`). With it a set of 100,000 tars opens without a parser,
and a sample is found by reading 32 bytes of one file, whatever the number of tars. Each record
has a checksum of its own, over its position too, because nobody reads the whole file.
"""

import os
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.durable import open_atomic, sha256_file
from retfm_dist.errors import ShardError
from retfm_dist.shard.index import SAMPLE_DTYPE, read_sample_index
from retfm_dist.shard.manifest import MANIFEST_NAME, Manifest, read_manifest

SET_INDEX_NAME = "set.index"
MAGIC = b"RETFMSET"
VERSION = 1

HEADER_DTYPE = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("record_bytes", "<u4"),
        ("num_shards", "<u8"),
        ("num_samples", "<u8"),
        ("names_bytes", "<u8"),
        ("manifest_sha256", "V32"),
        ("fingerprint", "V32"),
        ("head_crc32", "<u4"),
        ("reserved", "V20"),
    ]
)
SHARD_DTYPE = np.dtype([("first", "<u8"), ("num_bytes", "<u8"), ("name_end", "<u8")])
RECORD_DTYPE = np.dtype(
    [
        ("offset", "<u8"),
        ("size", "<u4"),
        ("crc32", "<u4"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("uid", "<u8"),
        ("check", "<u4"),
    ]
)
"""As `shard.index.SAMPLE_DTYPE`, with a crc32 of position and other fields in place of flags."""

_CHECKED_BYTES = RECORD_DTYPE.itemsize - 4

ReadRecords = Callable[[NDArray[np.int64]], NDArray[np.void]]
"""Positions int64 [B] -> [B] of `RECORD_DTYPE`."""


@dataclass(frozen=True)
class SetIndex:
    """The tars of a set and where its samples lie in them.

    Attributes:
        names: The tars, in the order of the set.
        starts: int64 [num_shards + 1], the position of each tar's first sample, then the number
            of samples.
        num_bytes: int64 [num_shards], size of each tar.
        fingerprint: That of the manifest.
        read_records: Reads records, unchecked; `locate` checks them.
    """

    names: "Names"
    starts: NDArray[np.int64]
    num_bytes: NDArray[np.int64]
    fingerprint: str
    read_records: ReadRecords

    @property
    def num_samples(self) -> int:
        """Number of samples in the set."""
        return int(self.starts[-1])

    def shards_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the tar that each position lies in."""
        return np.searchsorted(self.starts, positions, side="right") - 1

    def records(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """Return the records of samples, and which of them agree with their checksum.

        Args:
            positions: int64 [B] in [0, num_samples).

        Raises:
            OSError: The file cannot be read.
        """
        records = self.read_records(positions)
        return records, records["check"] == record_checks(records, positions)


@dataclass(frozen=True)
class Names(Sequence[str]):
    """Names of many tars in little memory.

    Attributes:
        text: All names, one after the other.
        ends: int64 [num_shards], where each ends.
    """

    text: bytes
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.ends)

    def __getitem__(self, shard: Any) -> Any:
        """Return the name of a tar; numbers only, no slices."""
        begin = int(self.ends[shard - 1]) if shard else 0
        return self.text[begin : int(self.ends[shard])].decode("ascii")


def record_checks(records: NDArray[np.void], positions: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the checksum of each record at its position, uint32 [B]."""
    body = records.tobytes()
    size = RECORD_DTYPE.itemsize
    checks = [
        zlib.crc32(body[first : first + _CHECKED_BYTES], position & 0xFFFFFFFF)
        for first, position in zip(range(0, len(body), size), positions.tolist(), strict=True)
    ]
    return np.array(checks, dtype=np.uint32)


def write_set_index(shard_dir: Path) -> None:
    """Derive `set.index` from a set's manifest and indexes, and write it atomically.

    Raises:
        ShardError: The set is incomplete or one of its indexes is damaged.
    """
    with open_atomic(shard_dir / SET_INDEX_NAME) as file:
        file.writelines(_render(shard_dir))


def is_sound_set_index(shard_dir: Path) -> bool:
    """Whether `set.index` says what the set's manifest and indexes say; a missing one does.

    Raises:
        ShardError: The set is incomplete or one of its indexes is damaged.
    """
    path = shard_dir / SET_INDEX_NAME
    if not path.exists():
        return True
    with path.open("rb") as file:
        agrees = all(file.read(len(part)) == part for part in _render(shard_dir))
        return agrees and not file.read(1)


def _render(shard_dir: Path) -> Iterator[bytes]:
    """Yield the pieces of `set.index`."""
    manifest = read_manifest(shard_dir)
    yield _render_head(shard_dir, manifest)
    first = 0
    for records in _each_index(shard_dir, manifest):
        yield checked_records(records, first).tobytes()
        first += len(records)


def checked_records(records: NDArray[np.void], first: int) -> NDArray[np.void]:
    """Return records of `SAMPLE_DTYPE` with their checksums, as `RECORD_DTYPE`.

    Args:
        records: [N] of one tar.
        first: Position of the first in the set.
    """
    checked = records.view(SAMPLE_DTYPE).astype(SAMPLE_DTYPE).view(RECORD_DTYPE)
    checked["check"] = record_checks(checked, np.arange(first, first + len(records)))
    return checked


def open_set_index(shard_dir: Path) -> SetIndex:
    """Open the index of a local set; without `set.index` it is put together in memory.

    Raises:
        ShardError: The set is incomplete or damaged, or `set.index` belongs to another manifest.
    """
    path = shard_dir / SET_INDEX_NAME
    if path.exists():
        return read_set_index(path, manifest_path=shard_dir / MANIFEST_NAME)
    manifest = read_manifest(shard_dir)
    parts, first = [np.empty(0, RECORD_DTYPE)], 0
    for records in _each_index(shard_dir, manifest):
        parts.append(checked_records(records, first))
        first += len(records)
    everything = np.concatenate(parts)
    head = _render_head(shard_dir, manifest)
    return _parse_head(path, head, lambda positions: everything[positions])


def read_set_index(path: Path, *, manifest_path: Path) -> SetIndex:
    """Open `set.index`; its records are read when they are asked for.

    Args:
        path: The index.
        manifest_path: The manifest that it has to belong to.

    Raises:
        ShardError: It cannot be read, is damaged or belongs to another manifest.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ShardError(
            "cannot read the index of the set", where=path, got=error.strerror
        ) from error
    file = _File(descriptor)
    header = file.read(HEADER_DTYPE.itemsize, 0)
    num_bytes = _head_bytes(path, header, file.num_bytes)
    index = _parse_head(path, file.read(num_bytes, 0), _record_reader(file, first_byte=num_bytes))
    if not manifest_path.is_file():
        raise ShardError(
            "not a complete shard set: it has no manifest",
            where=manifest_path,
            hint="name a directory that `python -m retfm_dist.shard build` has finished",
        )
    stated = np.frombuffer(header, HEADER_DTYPE)[0]["manifest_sha256"].tobytes().hex()
    if sha256_file(manifest_path) != stated:
        raise ShardError(
            "the index of the set belongs to another manifest",
            where=path,
            hint="`python -m retfm_dist.shard index` makes it anew; `verify` says whether the "
            "manifest is sound",
        )
    return index


class _File:
    """A file that is closed when nothing refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.num_bytes = os.fstat(descriptor).st_size
        weakref.finalize(self, os.close, descriptor)

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)


def _record_reader(file: _File, *, first_byte: int) -> ReadRecords:
    size = RECORD_DTYPE.itemsize

    def read(positions: NDArray[np.int64]) -> NDArray[np.void]:
        # pread and not a memory map: a page fault on slow storage would hold the interpreter.
        parts = [file.read(size, first_byte + size * position) for position in positions.tolist()]
        whole = [part if len(part) == size else bytes(size) for part in parts]
        return np.frombuffer(b"".join(whole), RECORD_DTYPE)

    return read


def _each_index(shard_dir: Path, manifest: Manifest) -> Iterator[NDArray[np.void]]:
    """Yield the records of each tar."""
    for shard in manifest.shards:
        path = shard_dir / shard.index_name
        records = read_sample_index(path)
        if len(records) != shard.num_samples:
            raise ShardError(
                "the index does not belong to its manifest",
                where=path,
                got=f"{len(records)} samples",
                expected=f"{shard.num_samples}",
                hint="copy or build the set again",
            )
        yield records


def _render_head(shard_dir: Path, manifest: Manifest) -> bytes:
    """Return everything before the records."""
    names = [shard.name.encode("ascii") for shard in manifest.shards]
    shards = np.zeros(len(names), SHARD_DTYPE)
    counts = np.array([shard.num_samples for shard in manifest.shards], dtype=np.uint64)
    shards["first"] = np.cumsum(counts) - counts
    shards["num_bytes"] = [shard.num_bytes for shard in manifest.shards]
    shards["name_end"] = np.cumsum([len(name) for name in names])
    text = b"".join(names)
    header = np.zeros((), HEADER_DTYPE)
    header["magic"] = MAGIC
    header["version"] = VERSION
    header["record_bytes"] = RECORD_DTYPE.itemsize
    header["num_shards"] = len(names)
    header["num_samples"] = manifest.num_samples
    header["names_bytes"] = len(text)
    header["manifest_sha256"] = np.void(bytes.fromhex(sha256_file(shard_dir / MANIFEST_NAME)))
    header["fingerprint"] = np.void(bytes.fromhex(manifest.fingerprint))
    body = shards.tobytes() + text
    body += bytes(-len(body) % RECORD_DTYPE.itemsize)
    header["head_crc32"] = zlib.crc32(body, zlib.crc32(header.tobytes()))
    return header.tobytes() + body


def _head_bytes(path: Path, header: bytes, num_bytes: int) -> int:
    """Return the length of all that stands before the records."""
    hint = "`python -m retfm_dist.shard index` makes it anew"
    if len(header) < HEADER_DTYPE.itemsize or not header.startswith(MAGIC):
        raise ShardError("not an index of a shard set", where=path, hint=hint)
    values = np.frombuffer(header, HEADER_DTYPE)[0]
    layout = (int(values["version"]), int(values["record_bytes"]))
    if layout != (VERSION, RECORD_DTYPE.itemsize):
        raise ShardError(
            "the index of the set has another layout",
            where=path,
            got=f"version {layout[0]} with records of {layout[1]} bytes",
            expected=f"version {VERSION} with records of {RECORD_DTYPE.itemsize} bytes",
            hint=hint,
        )
    body = int(values["num_shards"]) * SHARD_DTYPE.itemsize + int(values["names_bytes"])
    head = HEADER_DTYPE.itemsize + body + -body % RECORD_DTYPE.itemsize
    expected = head + int(values["num_samples"]) * RECORD_DTYPE.itemsize
    if num_bytes != expected:
        raise ShardError(
            "the index of the set has the wrong length",
            where=path,
            got=f"{num_bytes} bytes",
            expected=f"{expected}",
            hint=hint,
        )
    return head


def _parse_head(path: Path, head: bytes, read_records: ReadRecords) -> SetIndex:
    """Check and parse everything before the records."""
    header = np.frombuffer(head[: HEADER_DTYPE.itemsize], HEADER_DTYPE).copy()
    body = head[HEADER_DTYPE.itemsize :]
    stated = int(header["head_crc32"][0])
    header["head_crc32"] = 0
    if zlib.crc32(body, zlib.crc32(header.tobytes())) != stated:
        raise ShardError(
            "the index of the set is damaged",
            where=path,
            hint="`python -m retfm_dist.shard index` makes it anew",
        )
    num_shards, num_samples = int(header["num_shards"][0]), int(header["num_samples"][0])
    shards = np.frombuffer(body, SHARD_DTYPE, count=num_shards)
    text = body[num_shards * SHARD_DTYPE.itemsize :][: int(header["names_bytes"][0])]
    return SetIndex(
        names=Names(text, shards["name_end"].astype(np.int64)),
        starts=np.append(shards["first"].astype(np.int64), num_samples),
        num_bytes=shards["num_bytes"].astype(np.int64),
        fingerprint=header["fingerprint"][0].tobytes().hex(),
        read_records=read_records,
    )
