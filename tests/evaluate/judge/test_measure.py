import dataclasses
import json

import numpy as np
import pytest

from retfm_dist.evaluate.judge.measure import (
    combine,
    keep_images,
    measure_replicates,
    score,
    scored_json,
)
from retfm_dist.statistics.auroc import auroc_within_folds
from tests.fakes.predictions import fixed_predictions, predictions


def test_a_planted_effect_has_an_interval_above_chance_and_an_absent_one_has_not():
    planted, absent = (score(predictions(effect=e), alpha=0.05)["auroc"] for e in (1.0, 0.0))
    assert planted.interval.low > 0.5
    assert absent.interval.low < 0.5 < absent.interval.high
    assert planted.interval.low < planted.value < planted.interval.high
    assert (planted.num_images, planted.num_patients) == (80, 40)


def test_the_auroc_of_a_cross_validation_is_the_mean_over_repeats_within_folds():
    item = predictions()
    values = [
        auroc_within_folds(item.labels, p[:, 1], f)
        for p, f in zip(item.probabilities, item.folds, strict=True)
    ]
    assert score(item, alpha=0.05)["auroc"].value == pytest.approx(np.mean(values), abs=1e-14)


def test_refits_that_vary_widen_the_interval():
    steady, rng = predictions(num_patients=1000), np.random.default_rng(1)
    noise = rng.normal(0, 0.1, steady.probabilities.shape[:2])
    p = (steady.probabilities[:, :, 1] + noise).clip(0.001, 0.999)
    varied = dataclasses.replace(steady, probabilities=np.stack([1 - p, p], axis=-1))

    def share_of_refits(item):
        found = combine(item, measure_replicates(item), "auroc")
        return found.variance / found.fixed_variance - 1

    assert share_of_refits(steady) < 0.25
    assert share_of_refits(varied) > 2 * share_of_refits(steady)


def test_numbers_do_not_depend_on_how_patients_are_called_nor_on_the_order_of_rows():
    item = predictions()
    names = np.array([name[::-1] for name in item.subject_ids])
    assert score(dataclasses.replace(item, subject_ids=names), alpha=0.05) == score(
        item, alpha=0.05
    )
    shuffled = keep_images(item, np.random.default_rng(0).permutation(80))
    left, right = (scored_json(score(i, alpha=0.05), i) for i in (item, shuffled))
    assert left == right


def test_metrics_state_value_interval_method_and_sizes():
    item = predictions()
    entry = scored_json(score(item, alpha=0.1), item)["auroc"]
    assert entry["lo"] < entry["value"] < entry["hi"]
    assert entry["method"] == (
        "patient-clustered jackknife, symmetric in log odds, Student's t, 90 %; "
        "counts sampling of patients and refits, 6 x 4 folds"
    )
    assert (entry["n_images"], entry["n_patients"], entry["n_positive_patients"]) == (80, 40, 20)
    fixed = fixed_predictions()
    method = scored_json(score(fixed, alpha=0.1), fixed)["brier"]["method"]
    assert method.endswith("counts sampling of patients")
    assert json.dumps(scored_json(score(item, alpha=0.1), item)) == json.dumps(
        scored_json(score(predictions(), alpha=0.1), item)
    )


def test_too_few_patients_give_a_value_a_note_and_no_interval():
    item = predictions(num_patients=18)
    entry = scored_json(score(item, alpha=0.05), item)["auroc"]
    assert entry["value"] > 0.5
    assert (entry["lo"], entry["hi"]) == (None, None)
    assert "insufficient: 9 patients of the rarest class" in entry["note"]
