"""Image, eye and patient level: predictions aggregated, with the rule stated."""

from dataclasses import replace
from typing import Literal

import numpy as np

from retfm_dist.evaluate.predictions import Predictions

Level = Literal["image", "eye", "patient"]
RULES = {
    "image": "each image by itself",
    "eye": "mean probability and most severe label of an eye's images",
    "patient": "mean probability and most severe label of a patient's images",
}
"""How images become one prediction; a mean keeps probabilities of classes adding up to 1."""


def aggregate(predictions: Predictions, level: Level) -> Predictions | None:
    """Return the predictions of eyes or patients; None where eyes are not known.

    Numbers and probabilities are averaged; of classes, the highest is the label. A fold is that of
    the patient, who is never divided.
    """
    if level == "image":
        return predictions
    keys = predictions.subject_ids
    if level == "eye":
        eyes = predictions.attributes.get("eye")
        if eyes is None or any(eye is None for eye in eyes):
            return None
        keys = np.array([f"{key}/{eye}" for key, eye in zip(keys, eyes, strict=True)])
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    counts = np.bincount(codes)
    probabilities = np.zeros((predictions.num_replicates, len(first), predictions.num_classes))
    for replicate, values in zip(probabilities, predictions.probabilities, strict=True):
        np.add.at(replicate, codes, values)
    if predictions.num_classes == 1:
        labels = np.bincount(codes, predictions.labels) / counts
    else:
        labels = np.zeros(len(first), np.int64)
        np.maximum.at(labels, codes, predictions.labels)
    return replace(
        predictions,
        uids=keys[first],
        subject_ids=predictions.subject_ids[first],
        labels=labels,
        probabilities=probabilities / counts[:, None],
        folds=None if predictions.folds is None else predictions.folds[:, first],
        splits=None if predictions.splits is None else predictions.splits[first],
        attributes={name: values[first] for name, values in predictions.attributes.items()},
    )
