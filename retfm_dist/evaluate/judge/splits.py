"""Which rows choose a threshold and which are judged."""

from dataclasses import dataclass

import numpy as np

from retfm_dist.evaluate.judge.measure import keep_images
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.operating import choose_threshold

TARGETS = {
    "spec90": ("specificity", 0.90),
    "spec95": ("specificity", 0.95),
    "sens90": ("sensitivity", 0.90),
}


@dataclass(frozen=True)
class Judged:
    """What is judged, and the thresholds chosen on other images.

    Attributes:
        predictions: The test images; all of them where a file has no splits.
        thresholds: By name of the demand; empty where there are no validation images.
    """

    predictions: Predictions
    thresholds: dict[str, float]


def separate(predictions: Predictions) -> Judged:
    """Take the test images, and choose thresholds on the validation images."""
    if predictions.splits is None:
        return Judged(predictions, {})
    judged = keep_images(predictions, predictions.splits == "test")
    validation = predictions.splits == "val"
    return Judged(judged, _thresholds(keep_images(predictions, validation)))


def _thresholds(validation: Predictions) -> dict[str, float]:
    if validation.num_classes != 2 or len(np.unique(validation.labels)) < 2:
        return {}
    return {
        name: choose_threshold(validation.labels, validation.scores, **{kind: wanted})
        for name, (kind, wanted) in TARGETS.items()
    }
