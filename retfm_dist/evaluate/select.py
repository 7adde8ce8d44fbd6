"""Selection of the rows of each task from the archive tables, by filter and label."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from retfm_dist.cohort.columns import OPTIONAL_COLUMNS
from retfm_dist.cohort.records import ImageRecord, clean_label, clean_labels
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig, TaskConfig
from retfm_dist.evaluate.samples import TaskSamples, check_classes


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
    column, chosen = task.label.column, task.filter
    cells = [_cell(r, column, where=where, task=task) for r in records]
    filter_cells = [_cell(r, chosen.column, where=where, task=task) for r in records if chosen]
    labels = np.array([clean_label(cell) for cell in cells], object)
    samples = TaskSamples(task, len(records), tuple(records), labels, ())
    if chosen:
        wanted = clean_labels(chosen.values)
        kept = [cell is not None and clean_label(cell) in wanted for cell in filter_cells]
        samples = samples.keep(np.array(kept, bool), reason=f"{chosen.column} has another value")
    kept = [cell is not None for cell in samples.labels]
    samples = samples.keep(np.array(kept, bool), reason=f"no {column}")
    positives, negatives = clean_labels(task.label.positive), clean_labels(task.label.negative)
    positive = np.array([cell in positives for cell in samples.labels], bool)
    negative = np.array([cell in negatives for cell in samples.labels], bool)
    samples = replace(samples, labels=positive.astype(np.int64))
    reason = f"{column} is neither positive nor negative"
    samples = samples.keep(positive | negative, reason=reason)
    check_classes(samples)
    return samples


def _cell(record: ImageRecord, column: str, *, where: Path, task: TaskConfig) -> str | None:
    """Return one value of a row as text."""
    if column in record.labels:
        return record.labels[column]
    if column in OPTIONAL_COLUMNS:
        value = getattr(record, column)
        return None if value is None else str(value)
    raise EvaluateError(f"no column {column}", where=f"{where}, task {task.id}")
