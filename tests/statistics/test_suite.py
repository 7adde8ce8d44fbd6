import numpy as np
import pytest
from sklearn import metrics

from retfm_dist.statistics.suite import (
    SCALES,
    base_name,
    measure_auroc,
    measure_classes,
    measure_numbers,
)


def case(seed):
    """Labels of 2 to 5 classes, some absent, and probabilities with many ties or none."""
    rng = np.random.default_rng(seed)
    num_classes, num_images = 2 + seed % 4, int(rng.integers(12, 80))
    labels = rng.integers(0, num_classes, num_images)
    if seed % 5 == 0 and num_classes > 2:
        labels[labels == 1] = 0
    labels[:2] = 0, num_classes - 1
    probabilities = rng.dirichlet(np.ones(num_classes), num_images)
    if seed % 3 == 0:
        probabilities = np.round(probabilities * 8) / 8
        probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
    return labels, probabilities, np.arange(num_images) // 2


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("seed", range(200))
def test_every_metric_equals_scikit_learn(seed):
    labels, probabilities, patients = case(seed)
    decided, present = probabilities.argmax(axis=1), np.unique(labels)
    is_binary = probabilities.shape[1] == 2
    classes = [1] if is_binary else present
    truth = np.eye(probabilities.shape[1])[labels]
    expected = {
        "accuracy": metrics.accuracy_score(labels, decided),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, decided),
        "mcc": metrics.matthews_corrcoef(labels, decided),
        "kappa_quadratic": metrics.cohen_kappa_score(labels, decided, weights="quadratic"),
        "f1": metrics.f1_score(
            labels, decided, average="binary" if is_binary else "macro", zero_division=0
        ),
        "auroc": np.mean(
            [metrics.roc_auc_score(labels == k, probabilities[:, k]) for k in classes]
        ),
        "auprc": np.mean(
            [metrics.average_precision_score(labels == k, probabilities[:, k]) for k in classes]
        ),
        "brier": ((probabilities - truth) ** 2).sum(axis=1).mean() / (2 if is_binary else 1),
    }
    found = measure_classes(labels, probabilities, patients, thresholds={"half": 0.5})
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
    if is_binary:
        called = probabilities[:, 1] >= 0.5
        recall = metrics.recall_score(labels, called)
        assert found["sensitivity_at_half"].value == pytest.approx(recall, abs=1e-12)
        recall = metrics.recall_score(1 - labels, ~called)
        assert found["specificity_at_half"].value == pytest.approx(recall, abs=1e-12)


def test_numbers_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth, predicted = 50 + rng.normal(size=40), 50 + rng.normal(size=40)
    found = measure_numbers(truth, predicted, np.arange(40) // 2)
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(truth, predicted))
    assert found["r2"].value == pytest.approx(metrics.r2_score(truth, predicted), abs=1e-12)


def test_every_metric_has_a_scale_and_its_error_shrinks_with_the_patients():
    rng = np.random.default_rng(0)

    def errors(num_patients):
        labels = rng.integers(0, 2, 2 * num_patients)
        scores = 1 / (1 + np.exp(-rng.normal(labels - 0.5)))
        found = measure_classes(
            labels,
            np.column_stack([1 - scores, scores]),
            np.repeat(np.arange(num_patients), 2),
            thresholds={"x": 0.5},
        )
        assert {base_name(name) for name in found} <= set(SCALES)
        return {
            name: np.sqrt((item.influence**2).sum())
            for name, item in found.items()
            if item.influence is not None
        }

    few, many = errors(100), errors(1600)
    for name, error in few.items():
        assert 2.5 < error / many[name] < 6, name  # sqrt(16) = 4


def test_scores_of_different_fits_are_not_compared():
    """Two folds on different scales: within each the order is perfect, pooled it is not."""
    labels, folds = np.tile([0, 0, 1, 1], 2), np.repeat([0, 1], 4)
    scores = np.r_[0.1, 0.1, 0.2, 0.2, 0.8, 0.8, 0.9, 0.9]
    patients = np.arange(8)
    assert measure_auroc(labels, scores, patients).value < 1
    assert measure_auroc(labels, scores, patients, folds=folds).value == 1
