import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import LinearConfig
from retfm_dist.evaluate.folds import cross_validate, split_folds
from retfm_dist.evaluate.protocols import (
    build_protocols,
    choose_c,
    knn_scores,
    linear_scores,
)
from retfm_dist.statistics.auroc import auroc
from tests.fakes.evaluation import checked, evaluation
from tests.fakes.features import cohort

GRID = LinearConfig(c_grid=(0.001, 0.1, 10.0), inner_folds=3)


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
            folds = split_folds(labels, patients, num_folds=4, seed=seed, where="x")
            values.append(
                auroc(
                    labels,
                    cross_validate(features, labels, patients, folds, fit=fit, where="x").scores,
                )
            )
    assert min(planted) > 0.8
    # A standard error is about 0.07 per cohort and 0.025 for the mean of eight.
    assert 0.40 < np.mean(absent) < 0.57


def test_the_eyes_of_a_patient_would_leak_without_grouping(tmp_path):
    """The grouping matters: with it undone, labels without any effect become predictable."""
    fit = protocols(tmp_path)["knn_5"]
    features, labels, _ = cohort(effect=0.0)
    images = np.arange(len(labels))
    leaky = split_folds(labels, images, num_folds=4, seed=0, where="x")
    assert (
        auroc(labels, cross_validate(features, labels, images, leaky, fit=fit, where="x").scores)
        > 0.8
    )


def test_knn_votes_are_a_softmax_over_the_k_nearest_alone():
    train = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 5.0], [-1.0, 0.0]])
    labels = np.array([1, 0, 1, 1])
    found = knn_scores(train, labels, np.array([[2.0, 0.0]]), k=2, temperature=0.5)
    votes = np.exp(np.array([1.0, np.sqrt(0.5)]) / 0.5)
    assert found == pytest.approx([votes[0] / votes.sum()])


def test_knn_does_not_depend_on_the_length_of_features():
    features, labels, _ = cohort()
    scale = np.random.default_rng(0).uniform(0.1, 10, (len(features), 1))
    plain = knn_scores(features[20:], labels[20:], features[:20], k=5, temperature=0.07)
    scaled = knn_scores(
        (features * scale)[20:], labels[20:], (features * scale)[:20], k=5, temperature=0.07
    )
    np.testing.assert_allclose(plain, scaled, atol=1e-9)


def test_knn_takes_features_of_zero_length_and_many_test_images(monkeypatch):
    features, labels, _ = cohort()
    features[3] = 0
    whole = knn_scores(features, labels, features, k=5, temperature=0.01)
    monkeypatch.setattr("retfm_dist.evaluate.protocols._KNN_BLOCK", 7)
    blocks = knn_scores(features, labels, features, k=5, temperature=0.01)
    np.testing.assert_allclose(whole, blocks, atol=1e-12)
    assert ((whole >= 0) & (whole <= 1)).all()


@pytest.mark.parametrize("width", [8, 300])
def test_the_linear_probe_is_logistic_regression_on_standardized_features(width):
    features, labels, _ = cohort(width=width, effect=2.0)
    features[:, 3] = 7.0  # constant: must not divide by zero
    train, test = features[:80] * 3 + 5, features[80:] * 3 + 5
    scores, converged = linear_scores(train, labels[:80], test, c_grid=[0.05])
    scaler = StandardScaler().fit(train)
    oracle = LogisticRegression(C=0.05, tol=1e-10, max_iter=10_000).fit(
        scaler.transform(train), labels[:80]
    )
    np.testing.assert_allclose(
        scores[0], oracle.predict_proba(scaler.transform(test))[:, 1], atol=1e-4
    )
    assert converged


def test_a_fit_that_does_not_converge_is_reported(monkeypatch):
    monkeypatch.setattr("retfm_dist.evaluate.protocols._MAX_ITERATIONS", 2)
    features, labels, _ = cohort(effect=2.0)
    assert not linear_scores(features, labels, features, c_grid=[100.0])[1]


def test_c_is_strong_for_a_plain_effect_and_the_facts_say_when_at_the_edge(tmp_path):
    features, labels, patients = cohort(effect=1.5)
    chosen = choose_c(features, labels, patients, config=GRID, seed=0, where="x")
    assert chosen in GRID.c_grid
    scores, facts = protocols(tmp_path)["linear"](features, labels, patients, features, "x")
    assert facts["c_at_grid_edge"]  # a grid of two values has nothing but edges
    assert facts["converged"]
    assert facts["c"] in (0.01, 1.0)
    assert scores.shape == labels.shape


def test_a_grid_of_one_is_taken_as_it_is():
    one = LinearConfig(c_grid=(0.5,), inner_folds=2)
    features, labels, patients = cohort(num_patients=3)
    assert choose_c(features, labels, patients, config=one, seed=0, where="x") == 0.5


def test_ties_between_strengths_go_to_the_strongest_regularization():
    _, labels, patients = cohort()
    features = 10.0 * labels[:, None] + np.random.default_rng(0).normal(size=(len(labels), 4))
    assert choose_c(features, labels, patients, config=GRID, seed=0, where="x") == 0.001


def test_more_neighbors_than_images_is_an_error(tmp_path):
    features, labels, patients = cohort(num_patients=2)
    with pytest.raises(
        EvaluateError, match="more neighbors than training images; got 5, expected at most 4"
    ):
        protocols(tmp_path)["knn_5"](features, labels, patients, features, "x")
