from collections import Counter

import numpy as np
import pytest

from retfm_dist.synth.cohort import EYES, sample_diagnosis, sample_patient, sample_quality
from retfm_dist.synth.sites import DEVICES, LABELS, PIGMENT_BY_ETHNICITY, SITES
from retfm_dist.synth.streams import PatientKey

HOSPITAL, SCREENING = 0, 1
NUM_PATIENTS = 600


@pytest.fixture(scope="module")
def patients():
    return [
        [sample_patient(PatientKey(1, site, number)) for number in range(NUM_PATIENTS)]
        for site in range(len(SITES))
    ]


@pytest.fixture(scope="module")
def labels():
    """[site, patient, eye, label]."""
    return np.array(
        [
            [
                [
                    list(sample_diagnosis(PatientKey(1, site, n), eye).labels.values())
                    for eye in EYES
                ]
                for n in range(NUM_PATIENTS)
            ]
            for site in range(len(SITES))
        ]
    )


def test_every_share_of_a_site_sums_to_one_and_names_what_exists():
    for site in SITES:
        for shares in (site.ethnicities, site.devices, site.quality):
            assert sum(shares.values()) == pytest.approx(1)
        assert set(site.devices) <= set(DEVICES)
        assert set(site.ethnicities) == set(PIGMENT_BY_ETHNICITY)
        assert tuple(site.prevalence) == LABELS


def test_the_hospital_is_older_and_its_people_and_cameras_differ(patients):
    ages = [np.mean([patient.age for patient in site]) for site in patients]
    assert ages[HOSPITAL] > ages[SCREENING] + 12
    most_common = [
        [Counter(getattr(p, column) for p in site).most_common(1)[0][0] for site in patients]
        for column in ("ethnicity", "device")
    ]
    assert most_common == [["White", "Chinese"], ["Aurelia T45", "Kestrel NM2"]]


def test_ages_stay_in_the_range_of_the_site(patients):
    for site, people in zip(SITES, patients, strict=True):
        ages = [patient.age for patient in people]
        assert site.age_range[0] <= min(ages) < max(ages) <= site.age_range[1]


def test_patient_and_exam_numbers_are_unique_and_agree_with_the_date(patients):
    everyone = [patient for site in patients for patient in site]
    assert len({patient.patient_id for patient in everyone}) == len(everyone)
    for patient in everyone[:20]:
        assert patient.exam_id == f"{patient.patient_id}-{patient.captured_on.replace('-', '')}"


def test_labels_occur_with_the_prevalence_of_the_site(labels):
    expected = [[site.prevalence[name] for name in LABELS] for site in SITES]
    np.testing.assert_allclose(labels.mean(axis=(1, 2)), expected, atol=0.05)


def test_fellow_eyes_mostly_share_a_label_but_not_always(labels):
    left, right = labels[HOSPITAL, :, 0, 0], labels[HOSPITAL, :, 1, 0]
    assert 0.5 < np.corrcoef(left, right)[0, 1] < 0.95


def test_within_a_site_labels_know_nothing_of_the_person(patients, labels):
    """Else visibility 0 would not make the labels noise: age shows in the pixels."""
    ages = np.array([patient.age for patient in patients[HOSPITAL]])
    women = np.array([patient.sex == "female" for patient in patients[HOSPITAL]])
    noise = 3 / np.sqrt(NUM_PATIENTS)
    for label in range(len(LABELS)):
        diseased = labels[HOSPITAL, :, 0, label]
        assert abs(np.corrcoef(ages, diseased)[0, 1]) < noise
        assert abs(np.corrcoef(women, diseased)[0, 1]) < noise


def test_quality_grades_occur_with_the_shares_of_the_site():
    grades = Counter(sample_quality(PatientKey(1, SCREENING, n), "left") for n in range(1000))
    for grade, share in SITES[SCREENING].quality.items():
        assert grades[grade] / 1000 == pytest.approx(share, abs=0.04)


def test_a_patient_is_pinned():
    """A change here changes every cohort that was ever drawn; say so in the changelog."""
    patient = sample_patient(PatientKey(seed=0, site=HOSPITAL, number=0))
    assert (patient.age, patient.sex, patient.ethnicity) == (66.8, "female", "South Asian")
    assert (patient.device, patient.captured_on) == ("Aurelia T45", "2014-02-13")
