"""Draws a small archive: discs on black as JPEG files, and their table."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from retfm_dist.cohort.table import read_archive_table
from retfm_dist.shard.build import build_shards
from retfm_dist.shard.packing.options import BuildOptions

SALT = b"0123456789abcdef0123456789abcdef"
COLUMNS = (
    "image_path", "patient_id", "exam_id", "eye", "age", "sex", "device", "site", "label_dr", "nurse",
)  # fmt: skip


def draw_eye(number: int, *, side: int = 120) -> Image.Image:
    """Draw a disc with a texture of its own."""
    rows, columns = np.mgrid[:side, : side + 20] + 0.5
    distance = np.hypot(rows - side / 2, columns - side / 2 - 10)
    texture = np.sin(rows * (0.1 + 0.01 * number)) * np.cos(columns * 0.13 + number)
    gray = np.where(distance < 0.46 * side, 150 + 40 * texture, 0)
    return Image.fromarray((gray[..., None] * [1.0, 0.5, 0.3]).astype(np.uint8))


def write_archive(directory: Path, *, count: int = 12, side: int = 120) -> Path:
    """Write images named after fictitious patients, two each, and `table.csv`; return its path."""
    (directory / "clinic").mkdir(parents=True)
    with (directory / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(count):
            name = f"clinic/doe_{number:03d}.jpg"
            draw_eye(number, side=side).save(directory / name, quality=90)
            writer.writerow([
                name, f"NHS-{number // 2:04d}", f"EXAM-{number}", "LR"[number % 2], 40 + 5 * (number % 12),
                "FM"[number // 2 % 2], "Camera", "north", number % 3, "Ann",
            ])  # fmt: skip
    return directory / "table.csv"


def build(table: Path, out_dir: Path, **changes):
    """Build a set of 48-pixel squares, in this process unless told otherwise."""
    options = {
        "salt": SALT,
        "size": 48,
        "shard_mb": 0.02,
        "workers": 1,
        "image_timeout_s": None,
    } | changes
    keep_columns = options.pop("keep_columns", ())
    records = read_archive_table(table, keep_columns=keep_columns)
    return build_shards(records, BuildOptions(images_dir=table.parent, **options), out_dir)


def read_tree(directory: Path) -> dict[str, bytes]:
    """Return the bytes of every file by name."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def as_parquet(table: Path) -> Path:
    """Write a table again, ages and labels as numbers, and return its path."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update(age=float(row["age"]), label_dr=int(row["label_dr"]))
    path = table.with_suffix(".parquet")
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
