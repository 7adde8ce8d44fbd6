"""Predictions of a task by every model under every protocol, each by fits that did not see it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.composition import GROUPINGS, MISSING, group_of
from retfm_dist.cohort.pseudonym import assign_pseudonyms
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.console import track
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.folds import (
    TrainingSet,
    UnseenPredictions,
    cross_validate,
    predict_held_out,
)
from retfm_dist.evaluate.overlap import OVERLAP, Overlap
from retfm_dist.evaluate.predictions import Predictions, uid_of
from retfm_dist.evaluate.prepare import PreparedTask
from retfm_dist.evaluate.protocols import Protocol


def predict_task(
    prepared: PreparedTask,
    *,
    models: Sequence[Model],
    protocols: Sequence[Protocol],
    salt: bytes,
    overlaps: Mapping[str, Overlap],
) -> list[Predictions]:
    """Predict one task with every model under every protocol, on the same folds or sets.

    Args:
        prepared: The task.
        models: What its features were computed by.
        protocols: What is fitted on them.
        salt: Secret key of the pseudonyms.
        overlaps: What of the task's images each model was pre-trained on, by id.

    Raises:
        EvaluateError: Features are not finite, or too few images for a protocol.
    """
    samples, where = prepared.samples, f"task {prepared.samples.task.id}"
    rows, linked = samples.predicted(), prepared.linked_patients()
    records = [samples.records[row] for row in rows]
    digests = [prepared.encoded.digests[record.row] for record in samples.records]
    pseudonyms = assign_pseudonyms({record.patient_id for record in records}, salt)
    results = []
    for model in track(models, description=samples.task.id, total=len(models)):
        features = prepared.encoded.matrix(model.id, digests)
        if not np.isfinite(features).all():
            raise EvaluateError("features are not finite", where=f"model {model.id}, {where}")
        data = TrainingSet(features, samples.labels, linked, samples.classes, where=where)
        for protocol in protocols:
            outcomes = _replicates(data, prepared, protocol)
            folds = prepared.folds
            returned = 1.0 if folds is None else protocol.reciprocity(data, folds[0])
            results.append(
                Predictions(
                    model=model.id,
                    task=samples.task.id,
                    protocol=protocol.id,
                    uids=np.array([uid_of(digests[row]) for row in rows]),
                    subject_ids=np.array([pseudonyms[record.patient_id] for record in records]),
                    labels=samples.labels[rows],
                    probabilities=np.stack([outcome.probabilities for outcome in outcomes]),
                    folds=prepared.folds,
                    splits=None if samples.splits is None else samples.splits[rows].astype(str),
                    attributes={**_attributes(records), OVERLAP: overlaps[model.id].found[rows]},
                    fits=tuple(fit for outcome in outcomes for fit in outcome.fits),
                    reciprocity=returned,
                )
            )
    return results


def _replicates(
    data: TrainingSet, prepared: PreparedTask, protocol: Protocol
) -> list[UnseenPredictions]:
    """Predict by each cross-validation, or once where the task has fixed sets."""
    if prepared.folds is None:
        assert prepared.samples.splits is not None
        return [predict_held_out(data, prepared.samples.splits, fit=protocol.fit)]
    return [cross_validate(data, folds, fit=protocol.fit) for folds in prepared.folds]


def _attributes(records: Sequence[ImageRecord]) -> dict[str, NDArray]:
    """Return [N] the group of each image's patient by attribute; age as a band, never exact."""
    attributes = {}
    for name in GROUPINGS:
        groups = [group_of(record, name) for record in records]
        if any(group != MISSING for group in groups):
            cells = [None if group == MISSING else group for group in groups]
            attributes[name] = np.array(cells, object)
    return attributes
