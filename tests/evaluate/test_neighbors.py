import numpy as np
import pytest

from retfm_dist.evaluate.neighbors import vote, vote_reciprocity
from tests.fakes.features import cohort


def test_knn_votes_are_a_softmax_over_the_k_nearest_alone():
    train = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 5.0], [-1.0, 0.0]])
    labels = np.array([1, 0, 1, 1])
    found = vote(train, labels, np.array([[2.0, 0.0]]), num_classes=2, k=2, temperature=0.5)
    votes = np.exp(np.array([1.0, np.sqrt(0.5)]) / 0.5)
    np.testing.assert_allclose(found, [votes[::-1] / votes.sum()])
    labels = np.array([2, 0, 1, 1])
    found = vote(train, labels, np.array([[2.0, 0.0]]), num_classes=3, k=2, temperature=0.5)
    np.testing.assert_allclose(found, [np.array([votes[1], 0, votes[0]]) / votes.sum()])


def test_knn_does_not_depend_on_the_length_of_features():
    features, labels, _ = cohort()
    scale = np.random.default_rng(0).uniform(0.1, 10, (len(features), 1))
    options = {"num_classes": 2, "k": 5, "temperature": 0.07}
    plain = vote(features[20:], labels[20:], features[:20], **options)
    scaled = vote((features * scale)[20:], labels[20:], (features * scale)[:20], **options)
    np.testing.assert_allclose(plain, scaled, atol=1e-9)


def test_knn_takes_features_of_zero_length_and_many_test_images(monkeypatch):
    features, labels, _ = cohort()
    features[3] = 0
    options = {"num_classes": 2, "k": 5, "temperature": 0.01}
    whole = vote(features, labels, features, **options)
    monkeypatch.setattr("retfm_dist.evaluate.neighbors._BLOCK", 7)
    blocks = vote(features, labels, features, **options)
    np.testing.assert_allclose(whole, blocks, atol=1e-12)
    assert ((whole >= 0) & (whole <= 1)).all()


def test_reciprocity_is_that_of_the_votes_patients_give_each_other():
    features, _, patients = cohort()
    folds = patients % 4
    given = np.zeros((60, 60))  # [voter, judged]: change one voter's labels, see whose vote moves
    options = {"num_classes": 2, "k": 5, "temperature": 0.2}
    for voter in range(60):
        only = (patients == voter).astype(int)
        for fold in range(4):
            test = folds == fold
            moved = vote(features[~test], only[~test], features[test], **options)[:, 1]
            np.add.at(given[voter], patients[test], moved)
    expected = (given * given.T).sum() / (given**2).sum()
    found = vote_reciprocity(features, patients, folds, k=5, temperature=0.2)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0.2 < found < 0.9


def test_all_voting_on_all_alike_is_returned_fully():
    features, _, patients = cohort()
    found = vote_reciprocity(features, patients, patients % 4, k=90, temperature=1e9)
    assert found == pytest.approx(1.0)
