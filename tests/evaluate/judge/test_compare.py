import dataclasses

import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.compare import align, compare_metrics, cross_check
from retfm_dist.evaluate.judge.measure import keep_images
from tests.fakes.predictions import fixed_predictions, predictions


def pair(**options):
    """Two models on the same 100 patients, the first better."""
    return (
        fixed_predictions(0, num_patients=100, effect=1.0, **options),
        fixed_predictions(1, num_patients=100, effect=0.2, **options),
    )


def test_the_order_of_the_rows_does_not_matter():
    a, b = pair()
    shuffled = keep_images(b, np.random.default_rng(0).permutation(200))
    back = align(a, shuffled)
    assert np.array_equal(back.probabilities, b.probabilities)
    assert np.array_equal(back.uids, a.uids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: keep_images(b, np.arange(200) < 100), "100 images only in the first, 0 only in"),
        (lambda b: dataclasses.replace(b, labels=1 - b.labels), "differ in the column y"),
        (lambda b: dataclasses.replace(b, subject_ids=b.uids), "differ in the column patient"),
        (lambda b: dataclasses.replace(b, splits=np.full(200, "test")), "in the column split"),
        (lambda b: pair()[0], "hold the same predictions"),
        (lambda b: keep_images(pair()[0], np.arange(200)[::-1]), "hold the same predictions"),
        (lambda b: predictions(1, num_patients=100), "made in different ways; got 2 classes, 1 x"),
    ],
)
def test_files_about_other_images_are_refused(change, message):
    a, b = pair()
    with pytest.raises(EvaluateError, match=message):
        align(a, change(b))


def test_a_planted_difference_is_found_by_every_test_and_turns_with_the_models():
    a, b = pair()
    forth, back = (compare_metrics(*models, margin=0.02, alpha=0.05) for models in ((a, b), (b, a)))
    assert (forth["auroc"].test.verdict, back["auroc"].test.verdict) == ("superior", "inferior")
    assert forth["auroc"].test.value == pytest.approx(-back["auroc"].test.value)
    # A lower Brier score is better.
    assert forth["brier"].value_a < forth["brier"].value_b
    assert forth["brier"].test.value > 0
    assert "calibration_slope" not in forth
    checks = cross_check(a, b, alpha=0.05, num_resamples=200, num_permutations=199, seed=0)
    assert checks["permutation_of_patients"]["p"] <= 0.01
    assert checks["delong_clustered"]["p"] < 0.01


def test_a_difference_takes_the_larger_reciprocity_of_the_two():
    a, b = (predictions(seed, num_patients=60) for seed in (0, 1))
    one_sided, none = (dataclasses.replace(a, reciprocity=share) for share in (0.4, 0.0))

    def variance(*models):
        return compare_metrics(*models, margin=0.02, alpha=0.05)["auroc"].difference.variance

    assert variance(one_sided, b) == variance(b, one_sided) == pytest.approx(variance(a, b))
    b = dataclasses.replace(b, reciprocity=0.0)
    assert variance(none, b) < variance(one_sided, b) < variance(a, b)


def test_a_model_is_equivalent_to_itself_as_far_as_50_patients_of_a_class_can_tell():
    a, _ = pair()
    verdicts = [
        compare_metrics(a, a, margin=margin, alpha=0.05)["auroc"].test.verdict
        for margin in (0.02, 0.1)
    ]
    assert verdicts == ["inconclusive", "equivalent"]
    assert (
        cross_check(a, a, alpha=0.05, num_resamples=9, num_permutations=19, seed=0)[
            "delong_clustered"
        ]["p"]
        == 1
    )


def test_seeds_get_a_two_level_bootstrap_and_the_papers_test_with_its_defect():
    a, b = (
        predictions(s, num_patients=60, effect=e, folds=None, has_seeds=True)
        for s, e in ((0, 1.0), (1, 0.2))
    )
    checks = cross_check(a, b, alpha=0.05, num_resamples=200, num_permutations=9, seed=0)
    assert checks["two_level_bootstrap"]["lo"] > 0
    assert checks["welch_of_seeds"]["p"] < 0.05
    assert "takes the test patients as given" in checks["welch_of_seeds"]["note"]


def test_refits_leave_no_other_test_that_holds_its_level():
    a, b = predictions(0), predictions(1)
    assert cross_check(a, b, alpha=0.05, num_resamples=9, num_permutations=9, seed=0) == {}
