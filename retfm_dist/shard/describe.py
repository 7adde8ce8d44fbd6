"""Look at a shard set: its totals and composition, and a contact sheet of its images."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retfm_dist.durable import open_atomic
from retfm_dist.errors import ShardError
from retfm_dist.image.jpeg import decode_strictly
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.manifest import Manifest, read_manifest
from retfm_dist.shard.write import TABLE_NAME

_GAP_PX = 2
_GAP_GRAY = 90


@dataclass(frozen=True)
class SheetOptions:
    """How a contact sheet is laid out.

    Attributes:
        count: Largest number of images; they are spread evenly over the set.
        tile: Side of an image on the sheet, px.
        columns: Images per row.
        kind: Only images whose field of view is of this kind; None takes all.
    """

    count: int = 96
    tile: int = 128
    columns: int = 12
    kind: str | None = None


def describe_shards(shard_dir: Path) -> dict[str, Any]:
    """Return totals, build parameters and composition of a set as JSON values.

    The composition is empty where nobody knows who is in the images.

    Raises:
        ShardError: The set is incomplete, or its composition cannot be read.
    """
    manifest = read_manifest(shard_dir)
    try:
        composition = json.loads((shard_dir / "cohort.json").read_text("utf-8"))
    except FileNotFoundError:  # tars of somebody else, with an index of ours
        composition = {}
    except ValueError as error:
        raise ShardError(
            "the composition is damaged", where=shard_dir / "cohort.json", got=error
        ) from error
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    return {
        "num_samples": manifest.num_samples,
        "num_shards": len(manifest.shards),
        "num_bytes": num_bytes,
        "mean_sample_bytes": round(num_bytes / manifest.num_samples),
        "kinds": manifest.build.get("kinds", {}),
        "fingerprint": manifest.fingerprint,
        "build": manifest.build,
        "composition": composition,
    }


def write_contact_sheet(shard_dir: Path, out_path: Path, options: SheetOptions) -> int:
    """Draw images of a set on one sheet, in the order of the set.

    A sheet shows patients' eyes: it is as confidential as the set.

    Args:
        shard_dir: The set.
        out_path: A `.jpg` or `.png` file.
        options: Layout.

    Returns:
        Number of images drawn.

    Raises:
        ShardError: The set is incomplete, has no image of that kind, or the suffix is another.
    """
    formats = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
    if out_path.suffix.lower() not in formats:
        raise ShardError(
            "unknown kind of picture", where=out_path, got=out_path.suffix, expected=".jpg or .png"
        )
    manifest = read_manifest(shard_dir)
    chosen = _positions_of(shard_dir, manifest, options.kind)
    count = min(options.count, len(chosen))
    positions = chosen[np.arange(count) * len(chosen) // count]
    pitch = options.tile + _GAP_PX
    columns = min(options.columns, count)
    size = (columns * pitch, -(-count // columns) * pitch)
    sheet = Image.new("RGB", size, (_GAP_GRAY,) * 3)
    for slot, jpeg in enumerate(_read_jpegs(shard_dir, manifest, positions)):
        image = Image.fromarray(decode_strictly(jpeg))
        tile = image.resize((options.tile, options.tile), Image.Resampling.LANCZOS)
        sheet.paste(tile, (slot % columns * pitch, slot // columns * pitch))
    buffer = io.BytesIO()
    sheet.save(buffer, formats[out_path.suffix.lower()], quality=90)
    with open_atomic(out_path) as file:
        file.write(buffer.getvalue())
    return count


def _positions_of(shard_dir: Path, manifest: Manifest, kind: str | None) -> np.ndarray:
    """Return the positions of the images of a kind, ascending."""
    if kind is None:
        return np.arange(manifest.num_samples)
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(shard_dir / TABLE_NAME, columns=["kind"])
    except (pyarrow.ArrowException, OSError) as error:
        raise ShardError(
            "the table of samples cannot be read", where=shard_dir, got=error
        ) from error
    if not table.column_names:
        raise ShardError(
            "the set does not say of which kind its images are",
            where=shard_dir,
            hint="it is of an earlier release; leave out --kind or build it again",
        )
    kinds = np.array(table["kind"].to_pylist(), object)
    chosen = np.flatnonzero(kinds == kind)
    if not len(chosen):
        raise ShardError(
            "no image is of this kind",
            where=shard_dir,
            got=kind,
            expected=" or ".join(sorted(set(kinds.tolist()))),
        )
    return chosen


def _read_jpegs(shard_dir: Path, manifest: Manifest, positions: np.ndarray) -> Iterator[bytes]:
    """Yield the JPEGs at ascending positions of the set."""
    first = 0
    for shard in manifest.shards:
        inside = positions[(positions >= first) & (positions < first + shard.num_samples)] - first
        first += shard.num_samples
        if not len(inside):
            continue
        records = read_sample_index(shard_dir / shard.index_name)
        with (shard_dir / shard.name).open("rb") as file:
            for record in records[inside]:
                file.seek(int(record["offset"]))
                yield file.read(int(record["size"]))
