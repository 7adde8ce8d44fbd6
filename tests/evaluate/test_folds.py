import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.folds import cross_validate, split_folds
from tests.fakes.features import cohort


@pytest.mark.parametrize("seed", range(10))
def test_no_patient_is_in_two_folds_and_every_fold_has_both_classes(seed):
    _, labels, patients = cohort(seed)
    folds = split_folds(labels, patients, num_folds=5, seed=seed, where="x")
    assert set(folds) == set(range(5))
    for patient in np.unique(patients):
        assert len(set(folds[patients == patient])) == 1
    for fold in range(5):
        assert set(labels[folds == fold]) == {0, 1}


def test_folds_depend_on_the_seed_alone():
    _, labels, patients = cohort()
    first, again, other = (
        split_folds(labels, patients, num_folds=5, seed=s, where="x") for s in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_fit_sees_a_patient_of_its_test_images():
    features, labels, patients = cohort()
    folds = split_folds(labels, patients, num_folds=5, seed=0, where="x")
    features[:, 1] = patients
    seen = []

    def fit(train, train_labels, train_patients, test, where):
        assert where == "x"
        assert np.array_equal(train[:, 1], train_patients)
        assert not set(train[:, 1]) & set(test[:, 1])
        assert len(train) == len(train_labels)
        seen.extend(test[:, 1])
        return test[:, 1] / 100, {"size": len(train)}

    outcome = cross_validate(features, labels, patients, folds, fit=fit, where="x")
    assert sorted(seen) == sorted(patients)
    assert np.array_equal(outcome.scores, patients / 100)
    assert [fact["size"] for fact in outcome.fits] == [int((folds != f).sum()) for f in range(5)]


def test_too_few_patients_for_the_folds_is_an_error():
    labels, patients = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([0, 0, 1, 2, 3, 4, 5])
    with pytest.raises(
        EvaluateError,
        match="task t: too few patients with positive images.*got 2, expected at least 3",
    ):
        split_folds(labels, patients, num_folds=3, seed=0, where="task t")


def test_a_fold_of_one_class_is_an_error():
    """Patients whose images are of both classes cannot always be spread evenly."""
    labels = np.array([1, 1, 0, 1, 1, 0, 1, 0, 0])
    patients = np.array([0, 1, 1, 2, 2, 2, 2, 2, 3])
    with pytest.raises(
        EvaluateError,
        match="task t: fold 1 holds one class only; expected both classes in every fold",
    ):
        split_folds(labels, patients, num_folds=3, seed=0, where="task t")
