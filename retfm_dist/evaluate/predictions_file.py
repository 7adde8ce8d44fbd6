"""Reading of prediction files, ours or anybody's, with every fault named by column and row.

Columns, in any order:

    uid or image_id             the image
    subject_id or patient_id    its patient, the unit of every interval
    y                           true class, 0 .. C-1, or a number
    p_0 .. p_C-1                probabilities; or `prediction`, a number
    split                       "val" rows choose thresholds, "test" rows are judged, "train" rows
                                are left out (optional)
    fold, repeat                of a cross-validation (optional)
    seed                        of the training (optional)
    anything else               an attribute: age, sex, ethnicity, device, site, eye, ...

A fault is an error, never a number: a duplicated row, a missing half of the rows or one patient in
two folds changes results without leaving a trace in them.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.predictions import METADATA_KEY, Predictions
from retfm_dist.evaluate.replicates import arrange_replicates

_IMAGE, _PATIENT = ("uid", "image_id"), ("subject_id", "patient_id")
_RESERVED = {*_IMAGE, *_PATIENT, "y", "prediction", "split", "fold", "repeat", "seed"}
_SPLITS = ("train", "val", "test")
_SUM_TOLERANCE = 1e-3
"""How far probabilities may be from adding up to 1: files often hold them in half precision."""


def read_predictions(path: Path, *, expected: dict[str, str] | None = None) -> Predictions:
    """Read and check a prediction file.

    Args:
        path: Parquet file.
        expected: Model, task and protocol that the file has to state; none are checked for a file
            that is not ours.

    Raises:
        EvaluateError: See the module.
    """
    table, facts = _open(path)
    if expected is not None:
        _check_facts(facts, expected, path)
    if not table.num_rows:
        raise EvaluateError("no rows", where=path)
    images = _identifiers(table, _IMAGE, path)
    patients = _identifiers(table, _PATIENT, path)
    _check_spelling(patients, path, _column(table, _PATIENT, path))
    labels, probabilities = _outcomes(table, path)
    rows = arrange_replicates(
        images,
        patients,
        labels,
        repeats=_whole_numbers(table, "repeat", path),
        seeds=_whole_numbers(table, "seed", path),
        folds=_whole_numbers(table, "fold", path),
        where=path,
    )
    first = rows.rows[0]
    splits = _text(table, "split", path)
    if splits is not None:
        _check_splits(splits, patients, path)
        _check_test_images(splits, labels, path, has_classes=probabilities.shape[1] > 1)
    return Predictions(
        model=facts.get("model", path.stem),
        task=facts.get("task", ""),
        protocol=facts.get("protocol", ""),
        uids=images[first],
        subject_ids=patients[first],
        labels=labels[first],
        probabilities=probabilities[rows.rows],
        folds=rows.folds,
        has_seeds=rows.has_seeds,
        splits=None if splits is None else splits[first],
        attributes=_attributes(table, first),
        fits=tuple(facts.get("fits", ())),
        reciprocity=_reciprocity(facts, path),
    )


def _open(path: Path) -> tuple[pyarrow.Table, dict[str, Any]]:
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
        facts = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except FileNotFoundError as error:
        raise EvaluateError("no predictions", where=path, hint="check the path") from error
    except IsADirectoryError as error:
        raise EvaluateError("a directory, not a predictions file", where=path) from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise EvaluateError("not a predictions file", where=path, got=error) from error
    return table, facts if isinstance(facts, dict) else {}


def _check_facts(facts: dict[str, Any], expected: dict[str, str], path: Path) -> None:
    for name, wanted in expected.items():
        if facts.get(name) != wanted:
            raise EvaluateError(
                f"the predictions of another {name}",
                where=path,
                got=facts.get(name),
                expected=wanted,
                hint="run python -m retfm_dist.evaluate run again",
            )


def _reciprocity(facts: dict[str, Any], path: Path) -> float:
    found = facts.get("reciprocity", 1.0)
    if not isinstance(found, int | float) or not 0 <= found <= 1:
        raise EvaluateError(
            "the reciprocity of the fits is no share",
            where=f"{path}, metadata",
            got=found,
            expected="a number from 0 to 1",
        )
    return float(found)


def _column(table: pyarrow.Table, names: tuple[str, ...], path: Path) -> str:
    found = [name for name in names if name in table.column_names]
    if len(found) != 1:
        raise EvaluateError(
            f"expected exactly one of the columns {' and '.join(names)}",
            where=path,
            got=f"columns {', '.join(table.column_names)}",
        )
    return found[0]


def _identifiers(table: pyarrow.Table, names: tuple[str, ...], path: Path) -> NDArray:
    name = _column(table, names, path)
    column = table.column(name)
    _no_nulls(column, name, path)
    if pyarrow.types.is_floating(column.type):
        raise EvaluateError(
            "identifiers are floating-point numbers, which lose digits",
            where=f"{path}, column {name}",
            expected="text or whole numbers",
        )
    values = np.array([str(value) for value in column.to_pylist()])
    empty = np.char.strip(values) == ""
    if empty.any():
        raise EvaluateError("empty", where=_place(path, name, empty))
    return values


def _check_spelling(patients: NDArray, path: Path, column: str) -> None:
    """Refuse patient ids that differ in letter case or surrounding blanks alone."""
    seen: dict[str, str] = {}
    for row, patient in enumerate(patients.tolist()):
        first = seen.setdefault(patient.strip().casefold(), patient)
        if first != patient:
            raise EvaluateError(
                "two patient ids that differ in spelling only",
                where=f"{path}, column {column}, row {row + 1}",
                expected="one spelling for each patient",
            )


def _outcomes(table: pyarrow.Table, path: Path) -> tuple[NDArray, NDArray]:
    """Return [rows] truth and [rows, C] probabilities or [rows, 1] predicted numbers."""
    truth = _numbers(table, "y", path)
    if "prediction" in table.column_names:
        return truth, _numbers(table, "prediction", path)[:, None]
    found = sorted(
        (name for name in table.column_names if re.fullmatch(r"p_\d+", name)),
        key=lambda name: int(name[2:]),
    )
    wanted = [f"p_{k}" for k in range(max(len(found), 2))]
    if found != wanted:
        raise EvaluateError(
            "columns of probabilities are missing",
            where=path,
            got=", ".join(found) or "none",
            expected=f"p_0 .. p_C-1 for C classes, such as {', '.join(wanted)}; or prediction",
        )
    probabilities = np.column_stack([_numbers(table, name, path) for name in found])
    for name, column in zip(found, probabilities.T, strict=True):
        outside = (column < 0) | (column > 1)
        if outside.any():
            raise EvaluateError(
                f"{name} is not in [0, 1]",
                where=_place(path, name, outside),
                got=column[outside][0],
            )
    totals = probabilities.sum(axis=1)
    wrong = np.abs(totals - 1) > _SUM_TOLERANCE
    if wrong.any():
        raise EvaluateError(
            "the probabilities do not add up to 1",
            where=_place(path, " .. ".join((found[0], found[-1])), wrong),
            got=totals[wrong][0],
        )
    wrong = ~np.isin(truth, np.arange(len(found)))
    if wrong.any():
        raise EvaluateError(
            "y is not a class",
            where=_place(path, "y", wrong),
            got=truth[wrong][0],
            expected=f"a whole number from 0 to {len(found) - 1}",
        )
    if len(np.unique(truth)) < 2:
        raise EvaluateError(
            "all images are of one class",
            where=f"{path}, column y",
            got=f"{truth[0]:g} in {len(truth)} rows",
            expected="at least two classes",
        )
    return truth.astype(np.int64), probabilities


def _numbers(table: pyarrow.Table, name: str, path: Path) -> NDArray[np.float64]:
    if name not in table.column_names:
        raise EvaluateError(
            f"no column {name}", where=path, got=f"columns {', '.join(table.column_names)}"
        )
    column = table.column(name)
    kind = column.type
    is_number = pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
    if not (is_number or pyarrow.types.is_boolean(kind)):
        raise EvaluateError(
            "not a column of numbers", where=f"{path}, column {name}, row 1", got=str(kind)
        )
    _no_nulls(column, name, path)
    values = column.to_numpy().astype(np.float64)
    broken = ~np.isfinite(values)
    if broken.any():
        raise EvaluateError(
            f"{name} is not finite", where=_place(path, name, broken), got=values[broken][0]
        )
    return values


def _whole_numbers(table: pyarrow.Table, name: str, path: Path) -> NDArray[np.int64] | None:
    if name not in table.column_names:
        return None
    values = _numbers(table, name, path)
    broken = values != np.round(values)
    if broken.any():
        raise EvaluateError(
            f"{name} is not a whole number",
            where=_place(path, name, broken),
            got=values[broken][0],
        )
    return values.astype(np.int64)


def _text(table: pyarrow.Table, name: str, path: Path) -> NDArray | None:
    if name not in table.column_names:
        return None
    _no_nulls(table.column(name), name, path)
    return np.array([str(value) for value in table.column(name).to_pylist()])


def _check_splits(splits: NDArray, patients: NDArray, path: Path) -> None:
    """Refuse unknown splits, whose rows would be left out, and a patient in two splits.

    Of such a patient a threshold would be chosen on the images that it is judged on.
    """
    unknown = ~np.isin(splits, _SPLITS)
    if unknown.any():
        raise EvaluateError(
            "no such split",
            where=_place(path, "split", unknown),
            got=splits[unknown][0],
            expected=", ".join(_SPLITS),
        )
    of_patient: dict[str, str] = {}
    for row, (patient, split) in enumerate(zip(patients.tolist(), splits.tolist(), strict=True)):
        if of_patient.setdefault(patient, split) != split:
            raise EvaluateError(
                "a patient in two splits",
                where=f"{path}, column split, row {row + 1}",
                got=f"{of_patient[patient]} and {split}",
            )


def _check_test_images(splits: NDArray, labels: NDArray, path: Path, *, has_classes: bool) -> None:
    """Refuse a file on whose test images nothing can be judged."""
    test = splits == "test"
    if not test.any():
        raise EvaluateError(
            "no test images",
            where=f"{path}, column split",
            got=", ".join(sorted(set(splits.tolist()))),
            expected="rows with split = test",
        )
    if has_classes and len(np.unique(labels[test])) < 2:
        raise EvaluateError(
            "the test images are of one class",
            where=f"{path}, column y",
            got=labels[test][0],
            expected="at least two classes among rows with split = test",
        )


def _attributes(table: pyarrow.Table, rows: NDArray) -> dict[str, NDArray]:
    """Return every other column as text; what is missing, not a number or blank is None."""
    attributes = {}
    for name in table.column_names:
        if name in _RESERVED or re.fullmatch(r"p_\d+", name):
            continue
        cells = table.column(name).to_pylist()
        attributes[name] = np.array([_attribute(cells[row]) for row in rows], object)
    return attributes


def _attribute(cell: object) -> str | None:
    is_missing = cell is None or (isinstance(cell, float) and math.isnan(cell))
    return None if is_missing else str(cell).strip() or None


def _no_nulls(column: pyarrow.ChunkedArray, name: str, path: Path) -> None:
    if column.null_count:
        missing = np.array(column.is_null().to_pylist(), bool)
        raise EvaluateError("a value is missing", where=_place(path, name, missing))


def _place(path: Path, column: str, rows: NDArray) -> str:
    return f"{path}, column {column}, row {np.flatnonzero(rows)[0] + 1}"
