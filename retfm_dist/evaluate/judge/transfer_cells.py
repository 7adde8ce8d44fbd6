"""The prediction files of a transfer study: the table that names them, and their scores."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.measure import Scored
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.clusters import patient_names

METRIC = "auroc"

_REQUIRED = ("model", "train", "test", "path")
_OPTIONAL = ("task", "model_site", "test_site")


@dataclass(frozen=True)
class Cell:
    """One prediction file of a transfer study.

    Attributes:
        task: What is predicted.
        model: The pre-trained model.
        train: Data set it was adapted on.
        test: Data set it is tested on.
        path: Prediction file.
        model_site: Site whose images it was pre-trained on; empty where that is not told.
        test_site: Site of the test set, likewise.
    """

    task: str
    model: str
    train: str
    test: str
    path: Path
    model_site: str = ""
    test_site: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """Task, adaptation set and test set: where two models meet."""
        return self.task, self.train, self.test

    @property
    def is_internal(self) -> bool:
        """Whether it is tested on the data set it was adapted on."""
        return self.train == self.test

    @property
    def is_aligned(self) -> bool | None:
        """Whether model and test set are of one site; None where either is not told."""
        return self.model_site == self.test_site if self.model_site and self.test_site else None


@dataclass(frozen=True)
class CellScore:
    """A cell of a transfer matrix.

    Attributes:
        cell: Which.
        predictions: Its test images.
        scored: Their metrics.
    """

    cell: Cell
    predictions: Predictions
    scored: Mapping[str, Scored]

    @property
    def auroc(self) -> Scored:
        """The metric of the matrix."""
        return self.scored[METRIC]

    def patients(self) -> NDArray:
        """Return [P] names of the patients in the order of their codes.

        One patient id in two test sets is taken for two patients.
        """
        names = patient_names(self.predictions.subject_ids)
        return np.array([f"{self.cell.test}\n{name}" for name in names.tolist()])


def read_cells(path: Path) -> list[Cell]:
    """Read a CSV file with the columns model, train, test, path; task, model_site, test_site.

    Paths are relative to the file.

    Raises:
        EvaluateError: It cannot be read, lacks a column or a value, names a combination twice, or
            the models are not two.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluateError("cannot read the table of files", where=path, got=error) from error
    cells: list[Cell] = []
    for number, row in enumerate(rows, 2):
        missing = [name for name in _REQUIRED if not (row.get(name) or "").strip()]
        if missing:
            raise EvaluateError(
                "a value is missing", where=f"{path}, line {number}, column {missing[0]}"
            )
        values = {name: (row.get(name) or "").strip() for name in (*_REQUIRED, *_OPTIONAL)}
        cells.append(Cell(**{**values, "path": path.parent / values["path"]}))
    keys = [(cell.task, cell.model, cell.train, cell.test) for cell in cells]
    for number, key in enumerate(keys, 2):
        if keys.index(key) != number - 2:
            raise EvaluateError(
                "a combination occurs twice", where=f"{path}, line {number}", got=key
            )
    models = sorted({cell.model for cell in cells})
    if len(models) != 2:
        raise EvaluateError(
            "transfer compares two models",
            where=f"{path}, column model",
            got=", ".join(models) or "none",
        )
    return cells
