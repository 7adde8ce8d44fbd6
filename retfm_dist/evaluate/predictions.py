"""Per-image predictions in Parquet: the source of truth that every number is computed from.

    predictions/MODEL/TASK/PROTOCOL.parquet

Columns: uid (16 hex digits: the first 64 bits of the file's sha256, as in the keys of a shard set),
subject_id (pseudonym of the patient), y (1 = positive), p_0, p_1 (probabilities of the classes),
fold. The file's metadata holds model, task, protocol and the facts of the fits under the key
"retfm".
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

_UID_CHARACTERS = 16
_METADATA_KEY = b"retfm"
_COLUMNS = ("uid", "subject_id", "y", "p_0", "p_1", "fold")


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions of one model on one task under one protocol.

    Attributes:
        model: Id of the model.
        task: Id of the task.
        protocol: Id of the protocol.
        uids: [N] uid of each image, 16 hex digits.
        subject_ids: [N] pseudonym of each image's patient.
        labels: [N] 1 = positive, 0 = negative.
        scores: [N] probability of the positive class.
        folds: [N] fold in which the image was predicted.
        fits: Facts of the fit of each fold.
    """

    model: str
    task: str
    protocol: str
    uids: NDArray
    subject_ids: NDArray
    labels: NDArray
    scores: NDArray[np.float64]
    folds: NDArray
    fits: tuple[dict[str, Any], ...]


def uid_of(sha256: str) -> str:
    """Return the uid of an image file with this hex sha256."""
    return sha256[:_UID_CHARACTERS]


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
            "uid": predictions.uids.tolist(),
            "subject_id": predictions.subject_ids.tolist(),
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
        EvaluateError: The file is missing or damaged, lacks a column, or holds a probability
            outside [0, 1].
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
            "p_1 is not in [0, 1]",
            where=f"{path}, row {np.flatnonzero(outside)[0] + 1}",
            got=scores[outside][0],
        )
    return Predictions(
        model=facts["model"],
        task=facts["task"],
        protocol=facts["protocol"],
        uids=columns["uid"],
        subject_ids=columns["subject_id"],
        labels=columns["y"].astype(np.int64),
        scores=scores,
        folds=columns["fold"].astype(np.int64),
        fits=tuple(facts["fits"]),
    )
