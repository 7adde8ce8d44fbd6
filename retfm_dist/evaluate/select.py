"""Selection of the rows of each task from the archive tables, by filter and label."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from retfm_dist.cohort.columns import OPTIONAL_COLUMNS, clean_value
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig, TaskConfig
from retfm_dist.evaluate.samples import TaskSamples, check_classes

_MAX_VALUES_SHOWN = 10


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
        records = read_archive_table(
            table.path,
            keep_columns=sorted(columns - {*OPTIONAL_COLUMNS}),
            ids_as_written=table.ids_as_written,
        )
        tasks += [select_samples(records, task, where=table.path) for task in wanted]
    order = {task.id: index for index, task in enumerate(config.tasks)}
    return sorted(tasks, key=lambda samples: order[samples.task.id])


def select_samples(records: Sequence[ImageRecord], task: TaskConfig, *, where: Path) -> TaskSamples:
    """Apply a task's filter and label to a table.

    Raises:
        EvaluateError: A column is not in the table, no row is left, or one class only.
    """
    column, chosen = task.label.column, task.filter
    place = f"{where}, task {task.id}"
    cells = [_cell(record, column, where=place) for record in records]
    filter_cells = [_cell(record, chosen.column, where=place) for record in records if chosen]
    samples = TaskSamples(task, len(records), tuple(records), np.array(cells, object), ())
    if chosen:
        wanted = _wanted(chosen.column, chosen.values, where=f"task {task.id}: filter.values")
        kept = [cell is not None and cell in wanted for cell in filter_cells]
        if not any(kept):
            raise _nothing_passes(chosen.column, filter_cells, wanted, where=place)
        samples = samples.keep(np.array(kept, bool), reason=f"{chosen.column} has another value")
    kept = [cell is not None for cell in samples.labels]
    samples = samples.keep(np.array(kept, bool), reason=f"no {column}")
    positives = _wanted(column, task.label.positive, where=f"task {task.id}: label.positive")
    negatives = _wanted(column, task.label.negative, where=f"task {task.id}: label.negative")
    if positives & negatives:
        raise EvaluateError(
            "label.positive and label.negative name the same value",
            where=f"task {task.id}",
            got=sorted(map(str, positives & negatives)),
        )
    positive = np.array([cell in positives for cell in samples.labels], bool)
    negative = np.array([cell in negatives for cell in samples.labels], bool)
    samples = replace(samples, labels=positive.astype(np.int64))
    reason = f"{column} is neither positive nor negative"
    samples = samples.keep(positive | negative, reason=reason)
    check_classes(samples)
    return samples


def _wanted(column: str, values: Sequence[object], *, where: str) -> frozenset[str | None]:
    """Return values of the config in the spelling of the records."""
    return frozenset(clean_value(column, str(value), where=where) for value in values)


def _nothing_passes(
    column: str, cells: Sequence[str | None], wanted: frozenset[str | None], *, where: str
) -> EvaluateError:
    """Say what the filter asked for and, where they are few, which values there are."""
    found = sorted({cell for cell in cells if cell is not None})
    listed = ", ".join(found) if len(found) <= _MAX_VALUES_SHOWN else f"{len(found)} values"
    return EvaluateError(
        "the filter keeps no row",
        where=where,
        got=f"column {column} with {listed or 'no value at all'}",
        expected=f"one of {', '.join(sorted(map(str, wanted)))}",
        hint="compare filter.values with the column",
    )


def _cell(record: ImageRecord, column: str, *, where: str) -> str | None:
    """Return one value of a row in the spelling under which it is compared."""
    if column in record.labels:
        return clean_value(column, record.labels[column], where=where)
    if column in OPTIONAL_COLUMNS:
        value = getattr(record, column)
        return None if value is None else clean_value(column, str(value), where=where)
    raise EvaluateError(f"no column {column}", where=where)
