"""Rows of a prediction file arranged as replicates of the same images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retfm_dist.errors import EvaluateError


@dataclass(frozen=True)
class Replicates:
    """Which row holds which image of which replicate.

    Attributes:
        rows: [R, N] row numbers; images are in the order of the first replicate's rows.
        folds: [R, N] fold of each; None outside a cross-validation.
        has_seeds: Whether replicates are training seeds.
    """

    rows: NDArray
    folds: NDArray | None
    has_seeds: bool


def arrange_replicates(
    images: NDArray,
    patients: NDArray,
    labels: NDArray,
    *,
    repeats: NDArray | None,
    seeds: NDArray | None,
    folds: NDArray | None,
    where: Path,
) -> Replicates:
    """Arrange the rows, which all have one length.

    Args:
        images: Image of each row.
        patients: Its patient.
        labels: Its truth.
        repeats: Repeat of the cross-validation, if any.
        seeds: Training seed, if any.
        folds: Fold, if any.
        where: File, for messages.

    Raises:
        EvaluateError: An image occurs twice or not at all in a replicate, or with another patient
            or truth; or a patient is in two folds.
    """
    if repeats is not None and folds is None:
        raise EvaluateError("a column repeat without a column fold", where=where)
    if folds is not None and seeds is not None:
        raise EvaluateError(
            "columns fold and seed", where=where, expected="one of the two kinds of replicates"
        )
    arranged = _arrange(images, repeats if seeds is None else seeds, seeds is not None, where)
    for name, values in (("y", labels), ("patient", patients)):
        differs = values[arranged] != values[arranged[0]]
        if differs.any():
            row = arranged[differs].min()
            raise EvaluateError(
                f"{name} of an image differs between replicates",
                where=f"{where}, column {name}, row {row + 1}",
                got=values[row],
            )
    if folds is None:
        return Replicates(arranged, None, seeds is not None)
    _check_folds(folds[arranged], patients[arranged[0]], arranged, where)
    return Replicates(arranged, folds[arranged], has_seeds=False)


def _arrange(images: NDArray, numbers: NDArray | None, has_seeds: bool, where: Path) -> NDArray:
    """Return [R, N] row numbers, given the repeat or seed of each row."""
    if numbers is None:
        numbers = np.zeros(len(images), np.int64)
    codes = np.unique(images, return_inverse=True)[1]
    kind, parts = "seed" if has_seeds else "repeat", []
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        _check_duplicates(codes, rows, where=where)
        parts.append(_in_order(codes, rows, [*parts, rows][0], f"{kind} {number}", where))
    return np.array(parts)


def _check_duplicates(codes: NDArray, rows: NDArray, *, where: Path) -> None:
    _, first = np.unique(codes[rows], return_index=True)
    if len(first) != len(rows):
        repeated = np.setdiff1d(np.arange(len(rows)), first)[0]
        raise EvaluateError(
            "an image occurs twice",
            where=f"{where}, column uid or image_id, row {rows[repeated] + 1}",
            expected="one row for each image, repeat and seed",
        )


def _in_order(
    codes: NDArray, rows: NDArray, first: NDArray, replicate: str, where: Path
) -> NDArray:
    """Return the rows of a replicate in the order of the first's images."""
    position = np.full(codes.max() + 1, -1)
    position[codes[rows]] = rows
    ordered = position[codes[first]]
    if len(rows) != len(first) or (ordered < 0).any():
        raise EvaluateError(
            "the replicates are not about the same images",
            where=f"{where}, {replicate}",
            got=f"{len(rows)} images",
            expected=f"the {len(first)} images of the first",
        )
    return ordered


def _check_folds(folds: NDArray, patients: NDArray, rows: NDArray, where: Path) -> None:
    """Refuse a patient in two folds of a repeat: its images were predicted by fits that saw it."""
    codes = np.unique(patients, return_inverse=True)[1]
    for repeat, of_repeat in enumerate(folds):
        fold_of = np.full(codes.max() + 1, -1)
        fold_of[codes[::-1]] = of_repeat[::-1]
        wrong = fold_of[codes] != of_repeat
        if wrong.any():
            raise EvaluateError(
                "a patient in two folds",
                where=f"{where}, column fold, row {rows[repeat][wrong].min() + 1}",
            )
        if len(np.unique(of_repeat)) < 2:
            raise EvaluateError(
                "a single fold",
                where=f"{where}, column fold",
                expected="at least two, or no column fold for predictions of a fixed model",
            )
