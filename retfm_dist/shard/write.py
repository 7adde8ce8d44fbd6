"""Write the files of a shard set from packed images in their final order."""

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.console import track
from retfm_dist.durable import sha256_file, write_json, write_text
from retfm_dist.shard.index import SAMPLE_DTYPE, write_sample_index
from retfm_dist.shard.manifest import FileEntry, ShardEntry
from retfm_dist.shard.packing.spool import Spool, SpoolEntry
from retfm_dist.shard.plan import cut_shards
from retfm_dist.shard.sample import Sample, table_schema
from retfm_dist.shard.set_index import SET_INDEX_NAME
from retfm_dist.shard.tar import Member, TarWriter, member_bytes, render_dali_index

TABLE_NAME = "samples.parquet"

Waiting = tuple[ImageRecord, SpoolEntry]
"""A row of the table and the packed image that waits for it."""


class JpegsGoneError(Exception):
    """JPEGs that went into shards of another plan are needed again."""


@dataclass(frozen=True)
class ShardWriter:
    """Writes shards, and keeps those that an interrupted build wrote alike.

    Attributes:
        spool: Packed images.
        directory: Where the files of the set go.
        notes_dir: Where a note says of each finished shard what it holds.
        make_sample: Makes a sample out of a row and its image; samples are made when needed,
            since all at once would take more memory than the table.
    """

    spool: Spool
    directory: Path
    notes_dir: Path
    make_sample: Callable[[ImageRecord, SpoolEntry], Sample]

    def write(
        self, waiting: Sequence[Waiting], *, shard_bytes: int, labels: Mapping[str, str | None]
    ) -> list[ShardEntry]:
        """Write tars, their two indexes and samples.parquet.

        Args:
            waiting: Samples in the order of the set, at least one.
            shard_bytes: Size at which a further tar is begun.
            labels: The label columns (values unused).

        Returns:
            The tars in order.

        Raises:
            JpegsGoneError: The plan has changed since shards were written.
        """
        sizes = [
            member_bytes(entry.size) + member_bytes(len(self.make_sample(record, entry).sidecar()))
            for record, entry in waiting
        ]
        runs = cut_shards(sizes, shard_bytes=shard_bytes)
        schema = table_schema(labels)
        shards = []
        with pq.ParquetWriter(self.directory / TABLE_NAME, schema) as table:
            for number, run in enumerate(
                track(runs, description="writing shards", total=len(runs))
            ):
                part = [waiting[position] for position in run]
                samples = [self.make_sample(record, entry) for record, entry in part]
                entries = [entry for _, entry in part]
                content = _content(samples, entries)
                shard = self._kept(number, content) or self._write_one(number, samples, entries)
                write_json(self._note_path(number), {"content": content, "shard": asdict(shard)})
                if number + 1 < len(runs):
                    self.spool.drop_before(waiting[run.stop][1].order)
                rows = [sample.table_row(shard.name) for sample in samples]
                table.write_table(pa.Table.from_pylist(rows, schema))
                shards.append(shard)
        return shards

    def _kept(self, number: int, content: str) -> ShardEntry | None:
        """Return a shard that stands already with exactly this content."""
        try:
            note = json.loads(self._note_path(number).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        shard = ShardEntry(**note["shard"])
        names = (shard.name, shard.index_name, shard.dali_index_name)
        is_whole = all((self.directory / name).exists() for name in names) and (
            (self.directory / shard.name).stat().st_size == shard.num_bytes
        )
        return shard if is_whole and note["content"] == content else None

    def _write_one(
        self, number: int, samples: Sequence[Sample], entries: Sequence[SpoolEntry]
    ) -> ShardEntry:
        """Write one tar and its two indexes."""
        if not all(self.spool.holds(entry) for entry in entries):
            raise JpegsGoneError
        jpegs = (self.spool.read(entry) for entry in entries)
        return _write_shard(zip(samples, jpegs, strict=True), self.directory, number)

    def _note_path(self, number: int) -> Path:
        return self.notes_dir / f"{number:06d}.json"


def list_files(directory: Path, *, shards: Sequence[ShardEntry]) -> list[FileEntry]:
    """Size and hash every file of the directory that is not a tar nor derived from the others."""
    tars = {shard.name for shard in shards} | {SET_INDEX_NAME}
    return [
        FileEntry(path.name, path.stat().st_size, sha256_file(path))
        for path in sorted(directory.iterdir())
        if path.name not in tars
    ]


def _content(samples: Sequence[Sample], entries: Sequence[SpoolEntry]) -> str:
    """Return a digest of all that a shard with these samples holds."""
    digest = hashlib.sha256()
    for sample, entry in zip(samples, entries, strict=True):
        digest.update(sample.sidecar())
        digest.update(b"%d %08x\n" % (entry.size, entry.crc32))
    return digest.hexdigest()


def _write_shard(pairs: Iterable[tuple[Sample, bytes]], directory: Path, number: int) -> ShardEntry:
    """Write one tar and its two indexes."""
    name = f"{number:06d}.tar"
    members: list[Member] = []
    records: list[tuple[int, ...]] = []
    with (directory / name).open("wb") as file:
        writer = TarWriter(file)
        for sample, jpeg in pairs:
            image = writer.add(f"{sample.key}.jpg", jpeg)
            members += [image, writer.add(f"{sample.key}.json", sample.sidecar())]
            place = (image.offset, image.size, zlib.crc32(jpeg))
            records.append((*place, sample.height, sample.width, sample.uid, 0))
        num_bytes, sha256 = writer.finish()
    shard = ShardEntry(name, num_bytes, sha256, len(records))
    write_sample_index(directory / shard.index_name, np.array(records, SAMPLE_DTYPE))
    write_text(directory / shard.dali_index_name, render_dali_index(members))
    return shard
