"""Which rows choose a threshold and which are judged."""

from dataclasses import dataclass

import numpy as np

from retfm_dist.errors import EvaluateError
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
    """Take the test images, and choose thresholds on the validation images.

    Raises:
        EvaluateError: There are splits, but no test images, or test images of one class only.
    """
    if predictions.splits is None:
        return Judged(predictions, {})
    test = predictions.splits == "test"
    if not test.any():
        raise EvaluateError(
            "no test images",
            where=f"{predictions.model}, column split",
            got=", ".join(sorted(set(predictions.splits.tolist()))),
            expected="rows with split = test",
        )
    judged = keep_images(predictions, test)
    if predictions.num_classes > 1 and len(np.unique(judged.labels)) < 2:
        raise EvaluateError(
            "the test images are of one class",
            where=f"{predictions.model}, column y",
            expected="at least two classes",
        )
    validation = predictions.splits == "val"
    return Judged(judged, _thresholds(keep_images(predictions, validation)))


def _thresholds(validation: Predictions) -> dict[str, float]:
    if validation.num_classes != 2 or len(np.unique(validation.labels)) < 2:
        return {}
    return {
        name: choose_threshold(validation.labels, validation.scores, **{kind: wanted})
        for name, (kind, wanted) in TARGETS.items()
    }
