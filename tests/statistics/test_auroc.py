import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from retfm_dist.statistics.auroc import (
    auroc,
    auroc_within_folds,
    roc_points,
    sensitivity_at,
    weighted_auroc,
)


def random_case(seed):
    """Labels, scores with many ties, and whole-number weights."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(4, 60))
    labels = rng.permutation(np.r_[1, 0, rng.integers(0, 2, size - 2)])
    levels = int(rng.integers(1, 2 * size))
    return labels, rng.integers(0, levels, size) / levels, rng.integers(0, 4, size)


@pytest.mark.parametrize("seed", range(100))
def test_auroc_is_scikit_learns(seed):
    labels, scores, weights = random_case(seed)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    found = weighted_auroc(labels, scores, np.stack([weights, np.ones_like(weights)]))
    for row, row_weights in zip(found, (weights, np.ones_like(weights)), strict=True):
        if (row_weights * labels).sum() and (row_weights * (1 - labels)).sum():
            wanted = roc_auc_score(labels, scores, sample_weight=row_weights)
            assert row == pytest.approx(wanted, abs=1e-12)
        else:
            assert np.isnan(row)


@pytest.mark.parametrize("seed", range(30))
def test_a_weight_is_a_number_of_copies(seed):
    labels, scores, weights = random_case(seed)
    copied = (
        auroc(np.repeat(labels, weights), np.repeat(scores, weights)) if weights.any() else np.nan
    )
    assert weighted_auroc(labels, scores, weights[None])[0] == pytest.approx(
        copied, nan_ok=True, abs=1e-12
    )


@pytest.mark.parametrize("seed", range(20))
def test_auroc_does_not_depend_on_scale_or_order(seed):
    labels, scores, _ = random_case(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    assert auroc(labels[order], np.exp(3 * scores[order])) == pytest.approx(
        auroc(labels, scores), abs=1e-12
    )
    assert auroc(labels, -scores) == pytest.approx(1 - auroc(labels, scores), abs=1e-12)


def test_an_absent_class_gives_no_number():
    assert np.isnan(auroc([1, 1], [0.2, 0.3]))


@pytest.mark.parametrize("seed", range(30))
def test_the_roc_curve_is_scikit_learns_and_its_area_the_auroc(seed):
    labels, scores, _ = random_case(seed)
    rates, sensitivities, _ = roc_curve(labels, scores, drop_intermediate=False)
    points = roc_points(labels, scores)
    np.testing.assert_allclose(points, np.column_stack([rates, sensitivities]), atol=1e-12)
    area = np.trapezoid(points[:, 1], points[:, 0])
    assert area == pytest.approx(auroc(labels, scores), abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_sensitivity_is_a_step_function_of_the_roc_curve(seed):
    labels, scores, _ = random_case(seed)
    rates, sensitivities, _ = roc_curve(labels, scores, drop_intermediate=False)
    wanted = np.linspace(0, 1, 11)
    found = sensitivity_at(labels, scores, np.ones((1, len(labels))), wanted)[0]
    for rate, value in zip(wanted, found, strict=True):
        assert value == pytest.approx(sensitivities[rates <= rate + 1e-12].max(), abs=1e-12)


def test_sensitivity_has_no_value_without_a_class():
    assert np.isnan(sensitivity_at([1, 0], [0.1, 0.2], np.array([[1, 0]]), [0.5])).all()


def test_within_folds_only_images_of_one_fold_are_compared():
    labels, folds = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
    # Right within each fold, wrong between them.
    scores = np.array([0.2, 0.1, 0.9, 0.8])
    assert auroc(labels, scores) == 0.75
    assert auroc_within_folds(labels, scores, folds) == 1.0


def test_within_one_fold_it_is_the_auroc():
    labels, scores, _ = random_case(5)
    one = np.zeros(len(labels), int)
    assert auroc_within_folds(labels, scores, one) == pytest.approx(auroc(labels, scores))
    assert np.isnan(auroc_within_folds(labels, scores, np.arange(len(labels))))
