"""Selection of the rows of each task from the archive tables, by filter and label."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.columns import OPTIONAL_COLUMNS, clean_value
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig, SplitConfig, TableConfig, TaskConfig
from retfm_dist.evaluate.image_folder import read_image_folder
from retfm_dist.evaluate.samples import TaskSamples, check_classes, check_splits

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
        records = _read_records(table, wanted)
        are_known = not table.path.is_dir() or table.patient_pattern is not None
        tasks += [
            replace(select_samples(records, task, where=table.path), patients_are_known=are_known)
            for task in wanted
        ]
    order = {task.id: index for index, task in enumerate(config.tasks)}
    return sorted(tasks, key=lambda samples: order[samples.task.id])


def _read_records(table: TableConfig, tasks: Sequence[TaskConfig]) -> Sequence[ImageRecord]:
    """Read a table with the columns its tasks ask for, or an image folder."""
    if table.path.is_dir():
        return read_image_folder(table.path, patient_pattern=table.patient_pattern)
    columns = {task.label.column for task in tasks}
    columns |= {task.filter.column for task in tasks if task.filter}
    columns |= {task.split.column for task in tasks if task.split}
    return read_archive_table(
        table.path,
        keep_columns=sorted(columns - {*OPTIONAL_COLUMNS}),
        ids_as_written=table.ids_as_written,
    )


def select_samples(records: Sequence[ImageRecord], task: TaskConfig, *, where: Path) -> TaskSamples:
    """Apply a task's filter and label to a table.

    Raises:
        EvaluateError: A column is not in the table, no row is left, a class or a set is empty, or
            a patient is in two sets.
    """
    column, chosen = task.label.column, task.filter
    place = f"{where}, task {task.id}"
    cells = [_cell(record, column, where=place) for record in records]
    filter_cells = [_cell(record, chosen.column, where=place) for record in records if chosen]
    splits = _split_names(records, task.split, where=place) if task.split else None
    samples = TaskSamples(task, len(records), tuple(records), np.array(cells, object), (), splits)
    if chosen:
        wanted = _wanted(chosen.column, chosen.values, where=f"task {task.id}: filter.values")
        kept = [cell is not None and cell in wanted for cell in filter_cells]
        if not any(kept):
            raise _nothing_passes(chosen.column, filter_cells, wanted, where=place)
        samples = samples.keep(np.array(kept, bool), reason=f"{chosen.column} has another value")
    kept = [cell is not None for cell in samples.labels]
    samples = samples.keep(np.array(kept, bool), reason=f"no {column}")
    classes = _class_of_values(task)
    labels = np.array([classes.get(cell, -1) for cell in samples.labels], np.int64)
    samples = replace(samples, labels=labels)
    samples = samples.keep(labels >= 0, reason=f"{column} is {_of_no_class(samples)}")
    if task.split and samples.splits is not None:
        known = np.array([split is not None for split in samples.splits], bool)
        samples = samples.keep(known, reason=f"{task.split.column} is no set of the task")
    check_classes(samples)
    check_splits(samples)
    return samples


def _of_no_class(samples: TaskSamples) -> str:
    names = samples.classes
    return f"neither {names[1]} nor {names[0]}" if len(names) == 2 else "of no class"


def _class_of_values(task: TaskConfig) -> dict[str | None, int]:
    """Return the class of each value of the label column, in the spelling of the records."""
    column, classes = task.label.column, dict[str | None, int]()
    for index, (name, values) in enumerate(task.label.values.items()):
        for value in _wanted(column, values, where=f"task {task.id}: label {name}"):
            if classes.setdefault(value, index) != index:
                raise EvaluateError(
                    "two classes name the same value", where=f"task {task.id}", got=[value]
                )
    return classes


def _split_names(records: Sequence[ImageRecord], split: SplitConfig, *, where: str) -> NDArray:
    """Return [N] "train", "val", "test" or None of each row."""
    names: dict[str | None, str] = {}
    for name in ("train", "val", "test"):
        for value in _wanted(split.column, getattr(split, name), where=f"{where}: split.{name}"):
            if names.setdefault(value, name) != name:
                raise EvaluateError("two sets name the same value", where=where, got=value)
    cells = [_cell(record, split.column, where=where) for record in records]
    return np.array([names.get(cell) for cell in cells], object)


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
