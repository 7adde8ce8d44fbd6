"""Which of the selected images can be used: present, readable, and not a copy of another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import EvaluateError, ImageError
from retfm_dist.evaluate.config import TableConfig
from retfm_dist.evaluate.encode.features import EncodedImages
from retfm_dist.evaluate.encode.photographs import Photograph
from retfm_dist.evaluate.samples import TaskSamples, check_classes, drop_copies
from retfm_dist.image.source import find_source

_ROWS_SHOWN = 8


def drop_missing(samples: TaskSamples, table: TableConfig) -> TaskSamples:
    """Leave out the images without a file, and count them.

    Raises:
        EvaluateError: They are more than `table.max_bad_ratio` of the task's images.
    """
    kept = np.array([_locate(record, table) is not None for record in samples.records], bool)
    _check_bad(samples, kept, what="image files are missing", max_bad_ratio=table.max_bad_ratio)
    return samples.keep(kept, reason="image file missing")


def list_photographs(tasks: Sequence[TaskSamples], table: TableConfig) -> list[Photograph]:
    """Return the files of all tasks of a table, each once, in the order of the table."""
    records = {record.row: record for samples in tasks for record in samples.records}
    paths = {row: _locate(records[row], table) for row in sorted(records)}
    return [
        Photograph(
            row,
            path or table.images_dir / records[row].image_path,
            f"{table.path}, row {row}",
        )
        for row, path in paths.items()
    ]


def _locate(record: ImageRecord, table: TableConfig) -> Path | None:
    """Return the regular file of an image, found as `shard build` finds it, or None."""
    try:
        path = find_source(table.images_dir, record.image_path, is_confined=False)
    except ImageError:
        return None
    return path if path.is_file() else None


def drop_unusable(
    samples: TaskSamples, encoded: EncodedImages, *, max_bad_ratio: float
) -> TaskSamples:
    """Leave out unreadable images and copies, and count them by reason.

    Args:
        samples: The task's images so far, each with a file.
        encoded: What encoding them found.
        max_bad_ratio: Largest share of unreadable images tolerated.

    Raises:
        EvaluateError: More images are unreadable, or what is left lacks a class.
    """
    readable = np.array(
        [encoded.digests[record.row] not in encoded.bad for record in samples.records], bool
    )
    _check_bad(samples, readable, what="images are unreadable", max_bad_ratio=max_bad_ratio)
    samples = samples.keep(readable, reason="image unreadable or without a field of view")
    samples = drop_copies(samples, encoded.digests)
    check_classes(samples)
    return samples


def _check_bad(samples: TaskSamples, kept: NDArray, *, what: str, max_bad_ratio: float) -> None:
    """Raise when too many images are unusable; rows are named, not files, which name patients."""
    bad = [record.row for record, keep in zip(samples.records, kept, strict=True) if not keep]
    if len(bad) > max_bad_ratio * len(kept):
        shown = ", ".join(map(str, bad[:_ROWS_SHOWN])) + (" ..." if len(bad) > _ROWS_SHOWN else "")
        raise EvaluateError(
            f"{what}: {len(bad)} of {len(kept)}",
            where=f"task {samples.task.id}, table {samples.task.table}",
            got=f"rows {shown}",
            expected=f"at most {max_bad_ratio:.2%}",
            hint="check tables.*.images, or raise tables.*.max_bad_ratio",
        )
