import dataclasses

import numpy as np

from retfm_dist.evaluate.judge.splits import separate
from tests.fakes.predictions import fixed_predictions


def split(names):
    item = fixed_predictions(num_patients=60)
    return dataclasses.replace(item, splits=np.repeat(np.resize(names, 60), 2))


def test_thresholds_come_from_validation_and_numbers_from_test_images():
    item = split(["val", "val", "test", "test", "train", "train"])
    found = separate(item)
    assert len(found.predictions.labels) == 40
    validation = item.splits == "val"
    negatives = item.scores[validation & (item.labels == 0)]
    assert (negatives < found.thresholds["spec90"]).mean() >= 0.9
    assert set(found.thresholds) == {"spec90", "spec95", "sens90"}


def test_without_splits_everything_is_judged_and_nothing_is_chosen():
    item = fixed_predictions()
    found = separate(item)
    assert found.predictions is item
    assert found.thresholds == {}
    assert separate(split(["test"])).thresholds == {}
