import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import LinearConfig
from retfm_dist.evaluate.folds import TrainingSet, cross_validate, split_folds
from retfm_dist.evaluate.neighbors import vote
from retfm_dist.evaluate.protocols import (
    build_protocols,
    choose_c,
    linear_scores,
)
from retfm_dist.statistics.auroc import auroc
from tests.fakes.evaluation import checked, evaluation
from tests.fakes.features import cohort

NAMES = ("negative", "positive")
GRID = LinearConfig(c_grid=(0.001, 0.1, 10.0), inner_folds=3)


def training(features, labels, patients=None, **changes):
    patients = np.arange(len(labels)) if patients is None else patients
    return TrainingSet(features, labels, patients, NAMES, where="x", **changes)


def two_eye_auroc(features, labels, patients, *, fit, num_folds=4, seed=0):
    folds = split_folds(labels, patients, classes=NAMES, num_folds=num_folds, seed=seed, where="x")
    found = cross_validate(training(features, labels, patients), folds, fit=fit)
    return auroc(labels, found.probabilities[:, 1])


def protocols(tmp_path):
    return {p.id: p.fit for p in build_protocols(checked(evaluation(tmp_path)))}


def test_protocols_are_named_in_the_order_of_the_report(tmp_path):
    protocols = {
        "knn": {"k": [5, 20], "temperature": 0.1},
        "linear": {"c_grid": [1.0], "inner_folds": 2},
    }
    built = build_protocols(checked(evaluation(tmp_path, protocols=protocols)))
    assert [protocol.id for protocol in built] == ["knn_5", "knn_20", "linear"]
    assert [protocol.title for protocol in built] == ["kNN, k = 5", "kNN, k = 20", "linear probe"]
    alone = {"knn": None, "linear": protocols["linear"]}
    built = build_protocols(checked(evaluation(tmp_path, protocols=alone)))
    assert [protocol.id for protocol in built] == ["linear"]


@pytest.mark.parametrize("protocol", ["knn_5", "linear"])
def test_a_planted_effect_is_found_and_an_absent_one_is_not(tmp_path, protocol):
    fit = protocols(tmp_path)[protocol]
    absent, planted = [], []
    for seed in range(8):
        for effect, values in ((0.0, absent), (4.0, planted)):
            features, labels, patients = cohort(seed, effect=effect)
            values.append(two_eye_auroc(features, labels, patients, fit=fit, seed=seed))
    assert min(planted) > 0.8
    # A standard error is about 0.07 per cohort and 0.025 for the mean of eight.
    assert 0.40 < np.mean(absent) < 0.57


def test_the_eyes_of_a_patient_would_leak_without_grouping(tmp_path):
    """The grouping matters: with it undone, labels without any effect become predictable."""
    fit = protocols(tmp_path)["knn_5"]
    features, labels, _ = cohort(effect=0.0)
    assert two_eye_auroc(features, labels, np.arange(len(labels)), fit=fit) > 0.8


@pytest.mark.parametrize("width", [8, 300])
def test_the_linear_probe_is_logistic_regression_on_standardized_features(width):
    features, labels, _ = cohort(width=width, effect=2.0)
    features[:, 3] = 7.0  # constant: must not divide by zero
    train, test = features[:80] * 3 + 5, features[80:] * 3 + 5
    scores, converged = linear_scores(train, labels[:80], test, num_classes=2, c_grid=[0.05])
    scaler = StandardScaler().fit(train)
    oracle = LogisticRegression(C=0.05, tol=1e-10, max_iter=10_000).fit(
        scaler.transform(train), labels[:80]
    )
    np.testing.assert_allclose(scores[0], oracle.predict_proba(scaler.transform(test)), atol=1e-4)
    assert converged


def test_a_fit_that_does_not_converge_is_reported(monkeypatch):
    monkeypatch.setattr("retfm_dist.evaluate.protocols._MAX_ITERATIONS", 2)
    features, labels, _ = cohort(effect=2.0)
    assert not linear_scores(features, labels, features, num_classes=2, c_grid=[100.0])[1]


def test_c_is_strong_for_a_plain_effect_and_the_facts_say_when_at_the_edge(tmp_path):
    features, labels, patients = cohort(effect=1.5)
    chosen = choose_c(training(features, labels, patients), config=GRID, seed=0)
    assert chosen in GRID.c_grid
    scores, facts = protocols(tmp_path)["linear"](training(features, labels, patients), features)
    assert facts["c_at_grid_edge"]  # a grid of two values has nothing but edges
    assert facts["converged"]
    assert facts["c"] in (0.01, 1.0)
    assert scores.shape == (len(labels), 2)


def test_a_grid_of_one_is_taken_as_it_is():
    one = LinearConfig(c_grid=(0.5,), inner_folds=2)
    features, labels, patients = cohort(num_patients=3)
    assert choose_c(training(features, labels, patients), config=one, seed=0) == 0.5


def test_ties_between_strengths_go_to_the_strongest_regularization():
    _, labels, patients = cohort()
    features = 10.0 * labels[:, None] + np.random.default_rng(0).normal(size=(len(labels), 4))
    assert choose_c(training(features, labels, patients), config=GRID, seed=0) == 0.001


def test_more_neighbors_than_images_is_an_error(tmp_path):
    features, labels, patients = cohort(num_patients=2)
    with pytest.raises(
        EvaluateError, match="more neighbors than training images; got 5, expected at most 4"
    ):
        protocols(tmp_path)["knn_5"](training(features, labels, patients), features)


@pytest.mark.parametrize("width", [8, 300])
def test_of_more_classes_the_probe_is_the_multinomial_model(width):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = rng.normal(size=(120, width))
    features[:, 0] += 2.0 * (labels == 1)
    features[:, 1] += 2.0 * (labels == 2)
    found, converged = linear_scores(
        features[:80], labels[:80], features[80:], num_classes=3, c_grid=[0.05]
    )
    scaler = StandardScaler().fit(features[:80])
    oracle = LogisticRegression(C=0.05, tol=1e-10, max_iter=10_000).fit(
        scaler.transform(features[:80]), labels[:80]
    )
    expected = oracle.predict_proba(scaler.transform(features[80:]))
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-12)
    assert converged


def test_a_class_without_a_training_image_has_probability_0():
    features, labels, _ = cohort()
    found, _ = linear_scores(features, labels * 2, features, num_classes=4, c_grid=[1.0])
    assert (found[0][:, [1, 3]] == 0).all()
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-12)
    votes = vote(features, labels * 2, features, num_classes=4, k=3, temperature=0.1)
    assert (votes[:, [1, 3]] == 0).all()


def test_c_is_chosen_on_the_validation_set_where_there_is_one():
    """A validation set whose labels are turned round wants the weakest model; the folds do not."""
    features, labels, patients = cohort(effect=1.0, width=40)
    data = training(features, labels, patients)
    turned = training(features, labels, patients, validation=(features, 1 - labels))
    same = training(features, labels, patients, validation=(features, labels))
    config = LinearConfig(c_grid=(1e-4, 1e-2, 100.0), inner_folds=3)
    assert choose_c(turned, config=config, seed=0) == 1e-4
    assert choose_c(same, config=config, seed=0) == 100.0
    assert choose_c(data, config=config, seed=0) < 100.0
