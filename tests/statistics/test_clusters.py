import numpy as np

from retfm_dist.statistics.clusters import (
    PatientCounts,
    code_patients,
    count_patients,
    fewest_patients,
    patient_sums,
)


def test_codes_follow_first_appearance_not_names():
    assert code_patients(np.array(["z", "a", "z", "m"])).tolist() == [0, 1, 0, 2]


def test_a_patient_with_one_positive_eye_is_positive():
    labels, patients = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 1])
    assert count_patients(labels, patients) == PatientCounts(positive=1, negative=1)
    assert count_patients(labels * 3, patients) == PatientCounts(positive=1, negative=1)


def test_the_rarest_class_counts_every_patient_who_has_it():
    labels, patients = np.array([0, 1, 0, 1, 0]), np.array([0, 0, 1, 1, 2])
    assert fewest_patients(labels, patients) == 2


def test_sums_are_over_the_images_of_each_patient():
    sums = patient_sums([[1, 10], [2, 20], [3, 30]], np.array([0, 1, 0]), 3)
    assert sums.tolist() == [[4, 40], [2, 20], [0, 0]]
