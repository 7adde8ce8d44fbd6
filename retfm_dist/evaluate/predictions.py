"""Per-image predictions in Parquet: the source of truth that every number is computed from.

    predictions/MODEL/TASK/PROTOCOL.parquet

One row per image and replicate. Columns: uid (16 hex digits: the first 64 bits of the file's
sha256, as in the keys of a shard set), subject_id (pseudonym of the patient), y (class, 0-based;
1 = positive), p_0 .. p_C-1 (probabilities of the classes), fold and repeat of the cross-validation
or the split ("val", "test"), and attributes of the image's patient. The file's metadata holds
model, task, protocol, the facts of the fits and their reciprocity under the key "retfm".
`predictions_file` reads such files, and anybody's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from retfm_dist.durable import open_atomic
from retfm_dist.statistics.clusters import FloatArray
from retfm_dist.statistics.estimate import FIXED, Design

_UID_CHARACTERS = 16
METADATA_KEY = b"retfm"


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model on one task under one protocol, in R replicates.

    A replicate is a repeat of a cross-validation or a training seed; without either there is one.

    Attributes:
        model: Id of the model, or the file's name.
        task: Id of the task; empty where the file does not state it.
        protocol: Id of the protocol, likewise.
        uids: [N] uid or other id of each image.
        subject_ids: [N] pseudonym or other id of each image's patient.
        labels: [N] class, 0-based; of a regression the true number.
        probabilities: [R, N, C] of the classes; of a regression [R, N, 1], the predicted number.
        folds: [R, N] fold in which each image was predicted; None outside a cross-validation.
        has_seeds: Whether replicates are training seeds.
        splits: [N] "train", "val" or "test"; None where there is one set.
        attributes: [N] text of each further column by name; None where a value is missing.
        fits: Facts of each fit.
        reciprocity: How far the effect of one patient on another's score is returned, in [0, 1]; 1
            for linear models, and where nobody knows.
    """

    model: str
    task: str
    protocol: str
    uids: NDArray
    subject_ids: NDArray
    labels: NDArray
    probabilities: FloatArray
    folds: NDArray | None = None
    has_seeds: bool = False
    splits: NDArray | None = None
    attributes: Mapping[str, NDArray] = field(default_factory=dict)
    fits: tuple[dict[str, Any], ...] = ()
    reciprocity: float = 1.0

    @property
    def num_replicates(self) -> int:
        """R."""
        return len(self.probabilities)

    @property
    def num_classes(self) -> int:
        """C; 1 for predicted numbers."""
        return self.probabilities.shape[2]

    @property
    def design(self) -> Design:
        """What the replicates are."""
        if self.folds is not None:
            return Design("cross_validation", len(np.unique(self.folds)), self.reciprocity)
        return Design("seeds") if self.has_seeds else FIXED

    @property
    def scores(self) -> FloatArray:
        """Return [N] the mean probability of the highest class over replicates."""
        return self.probabilities[:, :, -1].mean(axis=0)


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
        "reciprocity": predictions.reciprocity,
    }
    count = predictions.num_replicates
    repeated = {
        "uid": predictions.uids,
        "subject_id": predictions.subject_ids,
        "y": predictions.labels,
        **({} if predictions.splits is None else {"split": predictions.splits}),
        **predictions.attributes,
    }
    columns = {name: pyarrow.array(np.tile(v, count).tolist()) for name, v in repeated.items()}
    flat = predictions.probabilities.reshape(-1, predictions.num_classes)
    columns |= {f"p_{k}": pyarrow.array(flat[:, k]) for k in range(predictions.num_classes)}
    if predictions.folds is not None:
        columns["fold"] = pyarrow.array(predictions.folds.reshape(-1), pyarrow.int16())
        repeats = np.repeat(np.arange(count), len(predictions.labels))
        columns["repeat"] = pyarrow.array(repeats, pyarrow.int16())
    table = pyarrow.table(columns).replace_schema_metadata(
        {METADATA_KEY: json.dumps(facts, sort_keys=True).encode()}
    )
    path = predictions_path(
        out_dir,
        model=predictions.model,
        task=predictions.task,
        protocol=predictions.protocol,
    )
    with open_atomic(path) as file:
        pyarrow.parquet.write_table(table, file)
