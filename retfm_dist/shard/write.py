"""Write the files of a shard set from packed images in their final order."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retfm_dist.console import track
from retfm_dist.durable import sha256_file, write_text
from retfm_dist.shard.index import SAMPLE_DTYPE, write_sample_index
from retfm_dist.shard.manifest import FileEntry, ShardEntry
from retfm_dist.shard.plan import cut_shards
from retfm_dist.shard.sample import Sample, table_schema
from retfm_dist.shard.spool import Spool
from retfm_dist.shard.tar import Member, TarWriter, render_dali_index

TABLE_NAME = "samples.parquet"


def write_shards(
    spool: Spool, directory: Path, *, shard_bytes: int, labels: Mapping[str, str | None]
) -> list[ShardEntry]:
    """Write tars, their two indexes and samples.parquet.

    Args:
        spool: Packed images, at least one.
        directory: Where the files go.
        shard_bytes: Size at which a further tar is begun.
        labels: The label columns (values unused).

    Returns:
        The tars in order.
    """
    entries = spool.sorted_entries()
    runs = cut_shards([entry.tar_size for entry in entries], shard_bytes=shard_bytes)
    schema = table_schema(labels)
    shards = []
    with pq.ParquetWriter(directory / TABLE_NAME, schema) as table:
        for number, run in enumerate(track(runs, description="writing shards", total=len(runs))):
            pairs = (spool.read(entries[position]) for position in run)
            shard, samples = _write_shard(pairs, directory, number)
            rows = [sample.table_row(shard.name) for sample in samples]
            table.write_table(pa.Table.from_pylist(rows, schema))
            shards.append(shard)
    return shards


def list_files(directory: Path, *, shards: Sequence[ShardEntry]) -> list[FileEntry]:
    """Size and hash every file of the directory that is not a tar."""
    tars = {shard.name for shard in shards}
    return [
        FileEntry(path.name, path.stat().st_size, sha256_file(path))
        for path in sorted(directory.iterdir())
        if path.name not in tars
    ]


def _write_shard(
    pairs: Iterable[tuple[Sample, bytes]], directory: Path, number: int
) -> tuple[ShardEntry, list[Sample]]:
    """Write one tar and its two indexes."""
    name = f"{number:06d}.tar"
    samples: list[Sample] = []
    members: list[Member] = []
    records: list[tuple[int, ...]] = []
    with (directory / name).open("wb") as file:
        writer = TarWriter(file)
        for sample, jpeg in pairs:
            image = writer.add(f"{sample.key}.jpg", jpeg)
            members += [image, writer.add(f"{sample.key}.json", sample.sidecar())]
            place = (image.offset, image.size, zlib.crc32(jpeg))
            records.append((*place, sample.height, sample.width, sample.uid, 0))
            samples.append(sample)
        num_bytes, sha256 = writer.finish()
    shard = ShardEntry(name, num_bytes, sha256, len(samples))
    write_sample_index(directory / shard.index_name, np.array(records, SAMPLE_DTYPE))
    write_text(directory / shard.dali_index_name, render_dali_index(members))
    return shard, samples
