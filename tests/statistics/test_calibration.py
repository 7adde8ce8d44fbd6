import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from retfm_dist.statistics.calibration import calibration_bins, ece_debiased, recalibrate


def draw(seed, *, slope=1.0, shift=0.0, num_images=4000):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, num_images)
    labels = (rng.uniform(size=num_images) < 1 / (1 + np.exp(-(slope * logits + shift)))).astype(
        int
    )
    return labels, 1 / (1 + np.exp(-logits)), np.arange(num_images) // 2


def test_planted_slope_and_intercept_are_found():
    found = recalibrate(*draw(0, slope=0.6))
    assert found.slope == pytest.approx(0.6, abs=4 * np.sqrt((found.slope_influence**2).sum()))
    found = recalibrate(*draw(1, shift=0.8))
    error = np.sqrt((found.intercept_influence**2).sum())
    assert found.intercept == pytest.approx(0.8, abs=4 * error)
    assert error < 0.06


def test_the_slope_is_that_of_an_unpenalized_logistic_regression():
    labels, probabilities, patients = draw(2, num_images=400)
    logits = np.log(probabilities / (1 - probabilities))[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(logits, labels)
    found = recalibrate(labels, probabilities, patients)
    assert found.slope == pytest.approx(reference.coef_[0, 0], abs=1e-5)


def test_two_equal_images_of_a_patient_count_as_one():
    labels, probabilities, _ = draw(3, num_images=300)
    one = recalibrate(labels, probabilities, np.arange(300))
    two = recalibrate(
        np.repeat(labels, 2), np.repeat(probabilities, 2), np.repeat(np.arange(300), 2)
    )
    assert (two.slope_influence**2).sum() == pytest.approx((one.slope_influence**2).sum())


def test_separated_classes_have_no_slope():
    labels = np.tile([0, 1], 20)
    assert recalibrate(labels, 0.1 + 0.8 * labels, np.arange(40)) is None
    assert recalibrate(labels, np.full(40, 0.5), np.arange(40)) is None


def test_a_calibrated_model_has_no_error_on_average_and_a_wrong_one_has_its_own():
    calibrated = [ece_debiased(*draw(seed, num_images=300)[:2]) for seed in range(60)]
    assert np.median(calibrated) < 0.02
    labels, probabilities, _ = draw(0, shift=2.0, num_images=20_000)
    bins = calibration_bins(probabilities)
    plain = np.sqrt(
        np.mean(
            [(labels[bins == b].mean() - probabilities[bins == b].mean()) ** 2 for b in range(15)]
        )
    )
    assert ece_debiased(labels, probabilities) == pytest.approx(plain, abs=0.003)
    assert plain > 0.2


def test_equal_confidences_share_a_bin():
    assert len(np.unique(calibration_bins(np.full(30, 0.4)))) == 1
    assert np.bincount(calibration_bins(np.arange(150.0))).tolist() == [10] * 15
