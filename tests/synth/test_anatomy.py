import dataclasses

import numpy as np
import pytest

from retfm_dist.synth.anatomy import sample_anatomy, sample_capture
from retfm_dist.synth.cohort import EYES, Diagnosis, sample_patient
from retfm_dist.synth.sites import LABELS
from retfm_dist.synth.streams import PatientKey

HEALTHY = Diagnosis(labels=dict.fromkeys(LABELS, 0), severity=dict.fromkeys(LABELS, 0.8))
DISEASED = Diagnosis(labels=dict.fromkeys(LABELS, 1), severity=dict.fromkeys(LABELS, 0.8))
PATIENTS = [sample_patient(PatientKey(seed=2, site=0, number=number)) for number in range(40)]


def sample(patient, eye, *, diagnosis=HEALTHY, visibility=1.0):
    return sample_anatomy(patient, eye, diagnosis=diagnosis, visibility=visibility)


@pytest.fixture(scope="module")
def pairs():
    """The (left, right) anatomies of the patients."""
    return [tuple(sample(patient, eye) for eye in EYES) for patient in PATIENTS]


def test_only_left_eyes_are_mirrored(pairs):
    assert {(left.mirrored, right.mirrored) for left, right in pairs} == {(True, False)}


def test_the_disc_lies_nasally_of_the_fovea_and_a_little_above(pairs):
    eyes = [eye for pair in pairs for eye in pair]
    assert all(eye.disc.x - eye.fovea_x > 0.5 for eye in eyes)
    assert np.mean([eye.disc.y - eye.fovea_y for eye in eyes]) > 0.03


@pytest.mark.parametrize(
    "trait",
    [
        lambda eye: eye.disc.width,
        lambda eye: eye.disc.cup_ratio,
        lambda eye: eye.pigment,
        lambda eye: eye.hue,
        lambda eye: eye.vessels[0].points[0, -1, 1],
    ],
)
def test_fellow_eyes_resemble_each_other_and_strangers_do_not(pairs, trait):
    left, right = (np.array([trait(pair[side]) for pair in pairs]) for side in (0, 1))
    assert np.corrcoef(left, right)[0, 1] > 0.55
    assert not np.array_equal(left, right)
    assert abs(np.corrcoef(left, np.roll(right, 1))[0, 1]) < 0.4


def test_glaucoma_widens_the_cup_as_far_as_it_is_visible():
    ratios = np.array(
        [
            [
                sample(patient, "left", diagnosis=DISEASED, visibility=visibility).disc.cup_ratio
                for visibility in (0.0, 0.1, 0.5, 1.0)
            ]
            for patient in PATIENTS
        ]
    )
    healthy = [sample(patient, "left").disc.cup_ratio for patient in PATIENTS]
    np.testing.assert_array_equal(ratios[:, 0], healthy)
    assert (np.diff(ratios, axis=1) >= 0).all()
    assert ratios[:, 3].min() > max(healthy)
    assert ratios.max() <= 0.9


def test_without_visibility_disease_leaves_the_anatomy_alone():
    for patient in PATIENTS[:10]:
        hidden = sample(patient, "right", diagnosis=DISEASED, visibility=0.0)
        healthy = sample(patient, "right", diagnosis=HEALTHY, visibility=0.0)
        assert hidden.disc == healthy.disc
        assert (hidden.pigment, hidden.drusen) == (healthy.pigment, healthy.drusen)
        for one, other in zip(hidden.vessels, healthy.vessels, strict=True):
            np.testing.assert_array_equal(one.points, other.points)


def test_age_brings_drusen_and_haze_and_takes_the_sheen():
    young, old = (
        [sample(dataclasses.replace(patient, age=age), "left") for patient in PATIENTS]
        for age in (22.0, 84.0)
    )
    for trait in ("drusen", "haze", "tessellation"):
        assert np.mean([getattr(eye, trait) for eye in old]) > np.mean(
            [getattr(eye, trait) for eye in young]
        )
    assert min(eye.sheen for eye in young) > max(eye.sheen for eye in old)


def test_pigment_follows_ethnicity():
    means = [
        np.mean([sample(dataclasses.replace(p, ethnicity=name), "left").pigment for p in PATIENTS])
        for name in ("White", "Chinese", "South Asian", "Black")
    ]
    assert means == sorted(means)
    assert means[-1] > means[0] + 0.4


def test_poor_pictures_are_more_blurred_than_good_ones():
    key = PATIENTS[0].key
    good, usable, poor = (
        sample_capture(key, "left", quality=q) for q in ("good", "usable", "poor")
    )
    assert good.blur < usable.blur < poor.blur
    assert good.veil < usable.veil < poor.veil
    assert good.shade < poor.shade
