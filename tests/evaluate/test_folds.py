import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.folds import TrainingSet, cross_validate, predict_held_out, split_folds
from tests.fakes.features import cohort

NAMES = ("negative", "positive")


@pytest.mark.parametrize("seed", range(10))
def test_no_patient_is_in_two_folds_and_every_fold_has_both_classes(seed):
    _, labels, patients = cohort(seed)
    folds = split_folds(labels, patients, classes=NAMES, num_folds=5, seed=seed, where="x")
    assert set(folds) == set(range(5))
    for patient in np.unique(patients):
        assert len(set(folds[patients == patient])) == 1
    for fold in range(5):
        assert set(labels[folds == fold]) == {0, 1}


def test_folds_depend_on_the_seed_alone():
    _, labels, patients = cohort()
    first, again, other = (
        split_folds(labels, patients, classes=NAMES, num_folds=5, seed=s, where="x")
        for s in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_fit_sees_a_patient_of_its_test_images():
    features, labels, patients = cohort()
    folds = split_folds(labels, patients, classes=NAMES, num_folds=5, seed=0, where="x")
    features[:, 1] = patients
    seen = []

    def fit(data, test):
        assert data.where == "x"
        assert data.validation is None
        assert np.array_equal(data.features[:, 1], data.patients)
        assert not set(data.patients) & set(test[:, 1])
        assert len(data.features) == len(data.labels)
        seen.extend(test[:, 1])
        return np.column_stack([test[:, 1], test[:, 1]]) / 100, {"size": len(data.labels)}

    data = TrainingSet(features, labels, patients, NAMES, where="x")
    outcome = cross_validate(data, folds, fit=fit)
    assert sorted(seen) == sorted(patients)
    assert np.array_equal(outcome.probabilities[:, 0], patients / 100)
    assert [fact["size"] for fact in outcome.fits] == [int((folds != f).sum()) for f in range(5)]


@pytest.mark.parametrize("has_validation", [True, False])
def test_fixed_sets_are_fitted_on_train_alone_and_all_others_predicted(has_validation):
    features, labels, patients = cohort()
    features[:, 1] = patients
    splits = np.array(["train", "train", "test", "val" if has_validation else "test"])[patients % 4]

    def fit(data, test):
        assert set(data.patients % 4) == {0, 1}
        assert np.array_equal(data.labels, labels[splits == "train"])
        if has_validation:
            assert set(data.validation[0][:, 1] % 4) == {3}
            assert np.array_equal(data.validation[1], labels[splits == "val"])
        else:
            assert data.validation is None
        assert set(test[:, 1] % 4) == {2, 3}
        return np.column_stack([test[:, 1], -test[:, 1]]), {"fit": 1}

    data = TrainingSet(features, labels, patients, NAMES)
    found = predict_held_out(data, splits, fit=fit)
    assert np.array_equal(found.probabilities[:, 0], patients[splits != "train"])
    assert found.fits == ({"fit": 1},)


def test_too_few_patients_for_the_folds_is_an_error():
    labels, patients = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([0, 0, 1, 2, 3, 4, 5])
    with pytest.raises(
        EvaluateError,
        match="task t: too few patients with positive images.*got 2, expected at least 3",
    ):
        split_folds(labels, patients, classes=NAMES, num_folds=3, seed=0, where="task t")


def test_a_fold_of_one_class_is_an_error():
    """Patients whose images are of both classes cannot always be spread evenly."""
    labels = np.array([1, 1, 0, 1, 1, 0, 1, 0, 0])
    patients = np.array([0, 1, 1, 2, 2, 2, 2, 2, 3])
    with pytest.raises(
        EvaluateError,
        match="task t: fold 1 holds one class only; expected two classes at least in every fold",
    ):
        split_folds(labels, patients, classes=NAMES, num_folds=3, seed=0, where="task t")
