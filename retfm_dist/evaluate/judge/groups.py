"""Groups of patients by attribute, as a file of predictions states them; nothing is inferred."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.composition import age_band, group_order
from retfm_dist.cohort.records import MAX_AGE_YEARS
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.clusters import code_patients

DEFAULT_ATTRIBUTES = ("age_band", "age", "sex", "ethnicity", "device", "site")
_AGES = ("age", "age_band")


@dataclass(frozen=True)
class Grouping:
    """Patients divided by one attribute, or by several at once.

    Attributes:
        name: The attribute, or several joined by " x ".
        groups: Names of the groups; what is missing is not one of them.
        codes: [P] group of each patient; -1 where the attribute is missing.
        is_joint: Whether it divides by several attributes.
    """

    name: str
    groups: tuple[str, ...]
    codes: NDArray
    is_joint: bool = False


def find_groupings(
    predictions: Predictions,
    attributes: Sequence[str],
    intersections: Sequence[Sequence[str]],
) -> list[Grouping]:
    """Divide the patients by each attribute and each intersection.

    Args:
        predictions: With P patients.
        attributes: Columns; empty takes those of `DEFAULT_ATTRIBUTES` that the file has.
        intersections: Combinations of columns.

    Raises:
        EvaluateError: There is no such column, or a patient has two values.
    """
    known = predictions.attributes
    wanted = list(attributes) or [name for name in DEFAULT_ATTRIBUTES if name in known]
    if not wanted:
        raise EvaluateError(
            "no attribute to divide patients by",
            where=predictions.model,
            got=f"columns {', '.join(known) or 'none'}",
            expected=f"one of {', '.join(DEFAULT_ATTRIBUTES)}, or --attribute",
        )
    groupings = [_grouping(predictions, [name]) for name in wanted]
    return groupings + [_grouping(predictions, names) for names in intersections]


def _grouping(predictions: Predictions, names: Sequence[str]) -> Grouping:
    columns = [patient_values(predictions, name) for name in names]
    rows = list(zip(*columns, strict=True))
    known = sorted({row for row in rows if None not in row}, key=group_order)
    codes = np.array([-1 if None in row else known.index(row) for row in rows])
    groups = tuple(", ".join(row) for row in known)
    return Grouping(" x ".join(names), groups, codes, is_joint=len(names) > 1)


def patient_values(predictions: Predictions, name: str) -> list[str | None]:
    """Return [P] the value of each patient, in the order of their codes; ages as bands.

    Of the ages of several visits the first one counts.

    Raises:
        EvaluateError: There is no such column, or a patient has two values.
    """
    if name not in predictions.attributes:
        raise EvaluateError(
            f"no column {name}",
            where=predictions.model,
            got=f"columns {', '.join(predictions.attributes) or 'none'}",
        )
    patients = code_patients(predictions.subject_ids)
    values: list[str | None] = [None] * (int(patients.max()) + 1)
    for patient, cell in zip(patients.tolist(), predictions.attributes[name], strict=True):
        value = _band(cell, name, predictions.model) if name == "age" else cell
        if name in _AGES and values[patient] is not None:
            continue  # a patient grows older between visits; the first counts
        if values[patient] is not None and value is not None and value != values[patient]:
            raise EvaluateError(
                "a patient in two groups",
                where=f"{predictions.model}, column {name}",
                got=f"{values[patient]} and {value}",
                hint="fairness compares groups of patients; use an attribute of the patient",
            )
        values[patient] = values[patient] if value is None else value
    return values


def _band(cell: str | None, name: str, where: str) -> str | None:
    if cell is None:
        return None
    try:
        age = float(cell)
    except ValueError:
        age = math.nan
    if not 0 <= age <= MAX_AGE_YEARS:
        raise EvaluateError(
            "not an age",
            where=f"{where}, column {name}",
            got=cell,
            expected=f"years from 0 to {MAX_AGE_YEARS}",
        )
    return age_band(age)
