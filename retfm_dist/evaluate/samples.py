"""From tables to the images, labels and patients of each task, with every exclusion counted.

Rows leave in this order, each counted once: another value in the filter column; no label; a label
that is neither positive nor negative; image file missing; image unreadable; exact copy of another
image. Copies that contradict each other in label or patient all leave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.columns import OPTIONAL_COLUMNS
from retfm_dist.cohort.composition import GROUPINGS, MISSING, group_of, group_order
from retfm_dist.cohort.records import ImageRecord, clean_label
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import Cell, EvaluateConfig, TableConfig, TaskConfig
from retfm_dist.evaluate.encode.features import EncodedImages, Photograph
from retfm_dist.statistics.bootstrap import code_patients, count_patients

_ROWS_SHOWN = 8


@dataclass(frozen=True)
class Exclusion:
    """Rows that left on the way from table to analysis.

    Attributes:
        reason: Why rows left.
        num_images: How many left.
    """

    reason: str
    num_images: int


@dataclass(frozen=True)
class TaskSamples:
    """The images of a task.

    Attributes:
        task: Its config.
        num_rows: Rows of its table.
        records: [N] rows in the order of the table.
        labels: [N] 1 = positive, 0 = negative.
        exclusions: What left so far, in order.
    """

    task: TaskConfig
    num_rows: int
    records: tuple[ImageRecord, ...]
    labels: NDArray
    exclusions: tuple[Exclusion, ...]

    def patients(self) -> NDArray:
        """Return [N] codes of the patients, 0 .. P-1 in order of first appearance."""
        return code_patients(np.array([record.patient_id for record in self.records]))

    def keep(self, kept: NDArray, *, reason: str) -> "TaskSamples":
        """Return the samples where `kept` [N] is true, and count the others under `reason`."""
        exclusion = Exclusion(reason, int((~kept).sum()))
        return replace(
            self,
            records=tuple(record for record, keep in zip(self.records, kept, strict=True) if keep),
            labels=self.labels[kept],
            exclusions=(*self.exclusions, exclusion),
        )


def read_tasks(config: EvaluateConfig) -> list[TaskSamples]:
    """Read every table once and select the rows of each task.

    Raises:
        CohortError: A table cannot be read, or lacks a column.
        EvaluateError: A task has no row, or one class only.
    """
    tasks = []
    for name, table in config.tables.items():
        wanted = [task for task in config.tasks if task.table == name]
        columns = {task.label.column for task in wanted}
        columns |= {task.filter.column for task in wanted if task.filter}
        records = read_archive_table(table.path, keep_columns=sorted(columns - {*OPTIONAL_COLUMNS}))
        tasks += [select_samples(records, task, where=table.path) for task in wanted]
    order = {task.id: index for index, task in enumerate(config.tasks)}
    return sorted(tasks, key=lambda samples: order[samples.task.id])


def select_samples(records: Sequence[ImageRecord], task: TaskConfig, *, where: Path) -> TaskSamples:
    """Apply a task's filter and label to a table.

    Raises:
        EvaluateError: A column is not in the table, no row is left, or one class only.
    """
    cells = [_cell(record, task.label.column, where=where, task=task) for record in records]
    samples = TaskSamples(task, len(records), tuple(records), np.array(cells, object), ())
    if task.filter:
        column, values = task.filter.column, task.filter.values
        kept = [_matches(_cell(r, column, where=where, task=task), values) for r in records]
        samples = samples.keep(np.array(kept, bool), reason=f"{column} has another value")
    column = task.label.column
    kept = [cell is not None for cell in samples.labels]
    samples = samples.keep(np.array(kept, bool), reason=f"no {column}")
    positive = np.array([_matches(cell, task.label.positive) for cell in samples.labels], bool)
    negative = np.array([_matches(cell, task.label.negative) for cell in samples.labels], bool)
    samples = replace(samples, labels=positive.astype(np.int64))
    reason = f"{column} is neither positive nor negative"
    samples = samples.keep(positive | negative, reason=reason)
    check_classes(samples)
    return samples


def check_classes(samples: TaskSamples) -> None:
    """Refuse a task whose images are all of one class, or that has none.

    Raises:
        EvaluateError: See above.
    """
    num_positive = int(samples.labels.sum())
    num_negative = len(samples.labels) - num_positive
    if not (num_positive and num_negative):
        label = samples.task.label
        raise EvaluateError(
            "both classes are needed",
            where=f"task {samples.task.id}",
            got=f"{num_positive} positive and {num_negative} negative images",
            hint=f"compare the values of column {label.column} with label.positive "
            f"{list(label.positive)} and label.negative {list(label.negative)}",
        )


def drop_missing(samples: TaskSamples, table: TableConfig) -> TaskSamples:
    """Leave out the images without a file, and count them.

    Raises:
        EvaluateError: They are more than `table.max_bad_ratio` of the task's images.
    """
    kept = np.array(
        [(table.images / record.image_path).is_file() for record in samples.records], bool
    )
    _check_bad(samples, kept, what="image files are missing", max_bad_ratio=table.max_bad_ratio)
    return samples.keep(kept, reason="image file missing")


def list_photographs(tasks: Sequence[TaskSamples], table: TableConfig) -> list[Photograph]:
    """Return the files of all tasks of a table, each once, in the order of the table."""
    records = {record.row: record for samples in tasks for record in samples.records}
    return [
        Photograph(row, table.images / records[row].image_path, f"{table.path}, row {row}")
        for row in sorted(records)
    ]


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


def drop_copies(samples: TaskSamples, digests: Mapping[int, str]) -> TaskSamples:
    """Keep the first of identical files; keep none where copies differ in label or patient.

    A copy in another fold would let a protocol see its test images.
    """
    facts: dict[str, set[tuple[str, int]]] = {}
    first: dict[str, int] = {}
    for record, label in zip(samples.records, samples.labels, strict=True):
        digest = digests[record.row]
        facts.setdefault(digest, set()).add((record.patient_id, int(label)))
        first.setdefault(digest, record.row)
    kept = [
        first[digests[record.row]] == record.row and len(facts[digests[record.row]]) == 1
        for record in samples.records
    ]
    return samples.keep(np.array(kept, bool), reason="exact copy of another image")


def describe_samples(samples: TaskSamples) -> dict[str, Any]:
    """Return flow, counts and subgroup sizes as JSON values, without any identifier."""
    patients = samples.patients()
    by_class = count_patients(samples.labels, patients)
    num_positive = int(samples.labels.sum())
    return {
        "id": samples.task.id,
        "title": samples.task.title,
        "num_rows": samples.num_rows,
        "excluded": [
            {"reason": exclusion.reason, "num_images": exclusion.num_images}
            for exclusion in samples.exclusions
        ],
        "num_images": len(samples.records),
        "num_positive_images": num_positive,
        "num_negative_images": len(samples.records) - num_positive,
        "num_patients": by_class.positive + by_class.negative,
        "num_positive_patients": by_class.positive,
        "num_negative_patients": by_class.negative,
        "subgroups": _subgroups(samples, patients),
    }


def _subgroups(samples: TaskSamples, patients: NDArray) -> list[dict[str, Any]]:
    """Count images, patients and positive patients per group of each attribute that is known."""
    rows = []
    for grouping in GROUPINGS:
        groups = np.array([group_of(record, grouping) for record in samples.records], object)
        for group in sorted(set(groups), key=lambda name: group_order((name,))):
            inside = groups == group
            rows.append(
                {
                    "attribute": grouping,
                    "group": group,
                    "num_images": int(inside.sum()),
                    "num_patients": len(np.unique(patients[inside])),
                    "num_positive_patients": len(
                        np.unique(patients[inside & (samples.labels == 1)])
                    ),
                }
            )
    known = {row["attribute"] for row in rows if row["group"] != MISSING}
    return [row for row in rows if row["attribute"] in known]


def _cell(record: ImageRecord, column: str, *, where: Path, task: TaskConfig) -> str | None:
    """Return one value of a row as text."""
    if column in record.labels:
        return record.labels[column]
    if column in OPTIONAL_COLUMNS:
        value = getattr(record, column)
        return None if value is None else str(value)
    raise EvaluateError(f"no column {column}", where=f"{where}, task {task.id}")


def _matches(cell: str | None, values: Sequence[Cell]) -> bool:
    """Whether a cell is one of the values, in whatever spelling."""
    return cell is not None and clean_label(cell) in {clean_label(str(value)) for value in values}


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
