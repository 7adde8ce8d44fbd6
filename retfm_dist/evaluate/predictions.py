"""Per-image predictions in Parquet: the source of truth that every number is computed from.

    predictions/MODEL/TASK/PROTOCOL.parquet

Columns: image_id (start of the image's sha256), patient_id (pseudonym), y (1 = positive), p_0, p_1
(probabilities of the classes), fold. The file's metadata holds model, task, protocol and the facts
of the fits under the key "retfm".
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from retfm_dist.durable import open_atomic
from retfm_dist.errors import EvaluateError

IMAGE_ID_CHARACTERS = 16
_METADATA_KEY = b"retfm"
_COLUMNS = ("image_id", "patient_id", "y", "p_0", "p_1", "fold")


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions of one model on one task under one protocol.

    Attributes:
        model: Id of the model.
        task: Id of the task.
        protocol: Id of the protocol.
        image_ids: [N] start of each image's sha256.
        patient_ids: [N] pseudonyms.
        labels: [N] 1 = positive, 0 = negative.
        scores: [N] probability of the positive class.
        folds: [N] fold in which the image was predicted.
        fits: Facts of the fit of each fold.
    """

    model: str
    task: str
    protocol: str
    image_ids: NDArray
    patient_ids: NDArray
    labels: NDArray
    scores: NDArray[np.float64]
    folds: NDArray
    fits: tuple[dict[str, Any], ...]


def predictions_path(out_dir: Path, *, model: str, task: str, protocol: str) -> Path:
    """Return where the predictions of one combination lie."""
    return out_dir / "predictions" / model / task / f"{protocol}.parquet"


def write_predictions(out_dir: Path, predictions: Predictions) -> None:
    """Write one combination's predictions atomically."""
    facts = {
        "model": predictions.model,
        "task": predictions.task,
        "protocol": predictions.protocol,
        "fits": list(predictions.fits),
    }
    table = pyarrow.table(
        {
            "image_id": predictions.image_ids.tolist(),
            "patient_id": predictions.patient_ids.tolist(),
            "y": pyarrow.array(predictions.labels, pyarrow.int8()),
            "p_0": 1.0 - predictions.scores,
            "p_1": predictions.scores,
            "fold": pyarrow.array(predictions.folds, pyarrow.int16()),
        }
    ).replace_schema_metadata({_METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})
    path = predictions_path(
        out_dir,
        model=predictions.model,
        task=predictions.task,
        protocol=predictions.protocol,
    )
    with open_atomic(path) as file:
        pyarrow.parquet.write_table(table, file)


def read_predictions(path: Path) -> Predictions:
    """Read one combination's predictions and check them.

    Raises:
        EvaluateError: The file is missing or damaged, lacks a column, or holds a number that is
            no probability.
    """
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
        facts = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        columns = {name: table.column(name).to_numpy() for name in _COLUMNS}
    except FileNotFoundError as error:
        raise EvaluateError(
            "no predictions", where=path, hint="run python -m retfm_dist.evaluate run first"
        ) from error
    except (pyarrow.ArrowException, KeyError) as error:
        raise EvaluateError("not a predictions file", where=path, got=error) from error
    scores = columns["p_1"]
    outside = ~((scores >= 0) & (scores <= 1))
    if outside.any():
        raise EvaluateError(
            "p_1 is no probability",
            where=f"{path}, row {np.flatnonzero(outside)[0] + 1}",
            got=scores[outside][0],
        )
    return Predictions(
        model=facts["model"],
        task=facts["task"],
        protocol=facts["protocol"],
        image_ids=columns["image_id"],
        patient_ids=columns["patient_id"],
        labels=columns["y"].astype(np.int64),
        scores=scores,
        folds=columns["fold"].astype(np.int64),
        fits=tuple(facts["fits"]),
    )
