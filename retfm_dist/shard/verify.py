"""Check that a shard set is what its builder wrote.

    verify         manifest, presence and size of every file; every index entry points at the
                   JPEG it describes; DALI's index and the table agree with the tars
    verify --full  all that, the sha256 of every file, the crc32 of every sample, a decode of
                   every image

A full check finds one flipped bit anywhere: every byte of the set is under a hash in the
manifest, and the manifest under its own fingerprint.
"""

import json
import os
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retfm_dist.console import track
from retfm_dist.durable import sha256_file
from retfm_dist.errors import RetfmError, ShardError
from retfm_dist.image.jpeg import decode_strictly
from retfm_dist.image.jpeg_header import read_jpeg_size
from retfm_dist.shard.foreign import find_tar_problems
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.manifest import MANIFEST_NAME, FileEntry, Manifest, ShardEntry, read_manifest
from retfm_dist.shard.set_index import SET_INDEX_NAME, is_sound_set_index
from retfm_dist.shard.tar import Member, read_members, render_dali_index
from retfm_dist.shard.write import TABLE_NAME
from retfm_dist.workers import map_in_order

_HEAD_BYTES = 1024
_NUM_SHOWN = 5


@dataclass(frozen=True)
class VerifySummary:
    """Totals of what was checked.

    Attributes:
        num_shards: Tars checked.
        num_samples: Samples checked.
        num_bytes: Size of all files together.
        full: Whether hashes and images were checked too.
        fingerprint: The manifest's.
    """

    num_shards: int
    num_samples: int
    num_bytes: int
    full: bool
    fingerprint: str


@dataclass(frozen=True)
class _ShardTask:
    """One tar to check, in a worker process."""

    shard_dir: Path
    shard: ShardEntry
    full: bool
    is_indexed: bool


def verify_shards(shard_dir: Path, *, full: bool, workers: int = 1) -> VerifySummary:
    """Check a shard set.

    Args:
        shard_dir: The set.
        full: Also check every hash and decode every image.
        workers: Worker processes.

    Returns:
        Totals of what was checked.

    Raises:
        ShardError: Anything is missing, added, damaged or inconsistent; names the first finds.
    """
    manifest = read_manifest(shard_dir)
    problems = _check_files(shard_dir, manifest, full=full)
    is_indexed = "indexed" in manifest.build
    tasks = [_ShardTask(shard_dir, shard, full, is_indexed) for shard in manifest.shards]
    with closing(map_in_order(_check_shard, tasks, workers=workers)) as results:
        for found in track(results, description="checking shards", total=len(tasks)):
            problems += found
    if not problems and not is_indexed:
        problems = _check_table(shard_dir, manifest)
    if not problems and not is_sound_set_index(shard_dir):
        problems = [f"{SET_INDEX_NAME} says otherwise; `shard index` makes it anew"]
    if problems:
        shown = "; ".join(problems[:_NUM_SHOWN])
        more = len(problems) - _NUM_SHOWN
        raise ShardError(
            "the shard set is damaged",
            where=shard_dir,
            got=f"{shown}; and {more} more" if more > 0 else shown,
            hint="copy the set again or build it again",
        )
    return VerifySummary(
        num_shards=len(manifest.shards),
        num_samples=manifest.num_samples,
        num_bytes=sum(path.stat().st_size for path in _files_of(shard_dir, manifest)),
        full=full,
        fingerprint=manifest.fingerprint,
    )


def _files_of(shard_dir: Path, manifest: Manifest) -> list[Path]:
    """Return the files of the set, without its manifest."""
    names = [file.name for file in (*manifest.shards, *manifest.files)]
    paths = [shard_dir / name for name in (*names, SET_INDEX_NAME)]
    return [path for path in paths if path.exists()]


def _check_files(shard_dir: Path, manifest: Manifest, *, full: bool) -> list[str]:
    """Compare the directory with the manifest; tars are hashed later, beside their samples."""
    listed = {file.name: file for file in (*manifest.shards, *manifest.files)}
    # Hidden files are droppings of file systems and desktops, not parts of the set.
    present = {entry.name for entry in os.scandir(shard_dir) if not entry.name.startswith(".")}
    others = present - listed.keys() - {MANIFEST_NAME, SET_INDEX_NAME}
    if "indexed" in manifest.build:  # somebody else's files may stand beside the tars
        others = {name for name in others if name.endswith(".tar")}
    problems = [f"{name} is not in the manifest" for name in sorted(others)]
    for name, file in listed.items():
        num_bytes = (shard_dir / name).stat().st_size
        if num_bytes != file.num_bytes:
            problems.append(f"{name} has {num_bytes} bytes, expected {file.num_bytes}")
        elif full and isinstance(file, FileEntry) and sha256_file(shard_dir / name) != file.sha256:
            problems.append(f"{name} has another sha256")
    return problems


def _check_shard(task: _ShardTask) -> list[str]:
    """Check one tar with its indexes; return what is wrong."""
    if task.is_indexed:
        return find_tar_problems(task.shard_dir, task.shard, full=task.full)
    tar_path = task.shard_dir / task.shard.name
    if task.full and sha256_file(tar_path) != task.shard.sha256:
        # The walk below says where; a flipped bit in padding is seen by the hash alone.
        return [f"{task.shard.name} has another sha256", *_walk_shard(task)]
    return _walk_shard(task)


def _walk_shard(task: _ShardTask) -> list[str]:
    """Compare a tar's members with both of its indexes."""
    name = task.shard.name
    try:
        members = list(read_members(task.shard_dir / name))
        records = read_sample_index(task.shard_dir / task.shard.index_name)
    except RetfmError as error:
        return [str(error)]
    problems = []
    index_text = (task.shard_dir / task.shard.dali_index_name).read_text("latin-1")
    if index_text != render_dali_index(members):
        problems.append(f"{task.shard.dali_index_name} does not describe {name}")
    images, sidecars = members[0::2], members[1::2]
    if not len(images) == len(sidecars) == len(records) == task.shard.num_samples:
        return [
            *problems,
            f"{name} has {len(members)} files and {len(records)} index records, "
            f"expected {task.shard.num_samples} samples",
        ]
    with (task.shard_dir / name).open("rb") as file:
        for image, sidecar, record in zip(images, sidecars, records, strict=True):
            found = _check_sample(file.fileno(), (image, sidecar), record, full=task.full)
            if found:
                problems.append(f"{name}: {image.name} {found}")
    return problems


def _check_sample(
    descriptor: int, members: tuple[Member, Member], record: np.void, *, full: bool
) -> str | None:
    """Check one sample against its index record; return what is wrong."""
    image, sidecar = members
    if (image.name, sidecar.name) != (f"{image.key}.jpg", f"{image.key}.json"):
        return "is not followed by its facts"
    expected = (record["offset"], record["size"], f"{record['uid']:016x}")
    if (image.offset, image.size, image.key[-16:]) != expected:
        return "is not where the index says"
    data = os.pread(descriptor, image.size if full else _HEAD_BYTES, image.offset)
    ending = os.pread(descriptor, 2, image.offset + image.size - 2)
    shape = (int(record["height"]), int(record["width"]))
    if read_jpeg_size(data) != shape or ending != b"\xff\xd9":
        return f"is not a whole JPEG of {shape[0]} x {shape[1]} px"
    return _check_content(descriptor, data, sidecar, record) if full else None


def _check_content(descriptor: int, jpeg: bytes, sidecar: Member, record: np.void) -> str | None:
    """Check every byte of a sample: checksum, pixels, facts."""
    if zlib.crc32(jpeg) != record["crc32"]:
        return "has another crc32"
    try:
        height, width = decode_strictly(jpeg).shape[:2]
        facts: Any = json.loads(os.pread(descriptor, sidecar.size, sidecar.offset))
    except ValueError as error:  # an ImageError is one, and so is bad JSON
        return f"cannot be decoded: {error}"
    if (height, width) != (record["height"], record["width"]):
        return f"has {height} x {width} px"
    if not isinstance(facts, dict) or facts.get("key") != sidecar.key:
        return "has the facts of another sample"
    return None


def _check_table(shard_dir: Path, manifest: Manifest) -> list[str]:
    """Compare samples.parquet with the indexes."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(shard_dir / TABLE_NAME, columns=["uid", "shard"])
    except (pyarrow.ArrowException, OSError) as error:
        return [f"{TABLE_NAME} cannot be read: {error}"]
    if table.num_rows != manifest.num_samples:
        return [f"{TABLE_NAME} has {table.num_rows} rows, expected {manifest.num_samples}"]
    uids = _index_uids(shard_dir, manifest.shards)
    shards = [shard.name for shard in manifest.shards for _ in range(shard.num_samples)]
    if not np.array_equal(table["uid"].to_numpy(), uids) or table["shard"].to_pylist() != shards:
        return [f"{TABLE_NAME} lists other samples than the indexes"]
    return []


def _index_uids(shard_dir: Path, shards: Sequence[ShardEntry]) -> np.ndarray:
    return np.concatenate(
        [read_sample_index(shard_dir / shard.index_name)["uid"] for shard in shards]
    )
