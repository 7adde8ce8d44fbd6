import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from retfm_dist.image.field_of_view import find_field_of_view
from retfm_dist.synth.anatomy import sample_anatomy
from retfm_dist.synth.cohort import EYES, Diagnosis, sample_diagnosis, sample_patient
from retfm_dist.synth.draw.eye import draw_eye
from retfm_dist.synth.draw.field import build_field
from retfm_dist.synth.sites import DEVICES, LABELS
from retfm_dist.synth.streams import PatientKey

HEALTHY = Diagnosis(labels=dict.fromkeys(LABELS, 0), severity=dict.fromkeys(LABELS, 0.8))


def diagnose(*names: str) -> Diagnosis:
    return Diagnosis(
        labels={name: int(name in names) for name in LABELS}, severity=dict.fromkeys(LABELS, 0.8)
    )


def patient_number(number: int, *, site: int = 0, **changes):
    return dataclasses.replace(sample_patient(PatientKey(7, site, number)), **changes)


def draw(patient, eye="right", *, diagnosis=HEALTHY, size_px=160, visibility=1.0):
    return draw_eye(patient, eye, diagnosis=diagnosis, size_px=size_px, visibility=visibility)


def disc_place(picture: np.ndarray) -> np.ndarray:
    """Return x and y of the brightest blob, relative to the picture's middle and height."""
    height, width = picture.shape[:2]
    smooth = ndimage.gaussian_filter(picture[..., 1].astype(float), height / 40)
    # The disc is small: what is bright over a wide area (flare, choroid) is taken away.
    row, column = np.unravel_index(
        np.argmax(smooth - ndimage.gaussian_filter(smooth, height / 10)), smooth.shape
    )
    return np.array([column - width / 2, height / 2 - row]) / height


@pytest.mark.parametrize("device", list(DEVICES))
@pytest.mark.parametrize("size_px", [64, 101, 160])
def test_a_picture_has_the_format_of_its_camera(device, size_px):
    picture = draw(patient_number(0, device=device), size_px=size_px)
    assert picture.dtype == np.uint8
    assert picture.shape == (size_px, round(size_px * DEVICES[device].aspect_ratio), 3)
    assert picture.flags["C_CONTIGUOUS"]


def test_the_surround_is_dark_noise_and_the_retina_is_red():
    picture = draw(patient_number(1, device="Kestrel NM2")).astype(float)
    corner = picture[:20, :20]
    assert corner.mean() < 12
    assert corner.std() > 0.5
    red, green, blue = picture[60:100, 90:150].mean(axis=(0, 1))
    assert red > 1.3 * green
    assert green > 1.1 * blue


def test_the_disc_is_seen_nasally_right_in_a_right_eye_and_left_in_a_left_eye():
    for number in range(8):
        patient = patient_number(number, site=1)
        for eye, sign in zip(EYES, (-1, 1), strict=True):
            anatomy = sample_anatomy(patient, eye, diagnosis=HEALTHY, visibility=1.0)
            device = DEVICES[patient.device]
            field = build_field(device.layout, size_px=160, aspect_ratio=device.aspect_ratio)
            expected = np.array([sign * anatomy.disc.x, anatomy.disc.y]) * field.radius_px / 160
            assert np.sign(expected[0]) == sign
            np.testing.assert_allclose(disc_place(draw(patient, eye)), expected, atol=0.06)


@pytest.mark.parametrize("device", list(DEVICES))
def test_the_crop_of_the_shard_build_finds_the_field_of_view(device):
    for number in range(3):
        picture = draw(patient_number(number, device=device, age=50.0), size_px=256)
        found = find_field_of_view(Image.fromarray(picture))
        field = build_field(
            DEVICES[device].layout, size_px=256, aspect_ratio=DEVICES[device].aspect_ratio
        )
        assert found.kind == "circle"
        assert found.radius == pytest.approx(field.radius_px, rel=0.03)
        height, width = picture.shape[:2]
        assert found.center_x == pytest.approx(width / 2, abs=4)
        assert found.center_y == pytest.approx(height / 2, abs=4)


def test_a_picture_is_a_pure_function():
    patient = patient_number(2)
    first = draw(patient, diagnosis=diagnose("dr"))
    draw(patient_number(3), size_px=128)
    np.testing.assert_array_equal(first, draw(patient, diagnosis=diagnose("dr")))
    assert not np.array_equal(first, draw(patient_number(3), diagnosis=diagnose("dr")))
    assert not np.array_equal(first, draw(patient, "left", diagnosis=diagnose("dr"))[:, ::-1])


@pytest.mark.parametrize("number", range(4))
def test_at_visibility_0_disease_changes_no_pixel(number):
    patient = patient_number(number)
    sick = diagnose(*LABELS)
    np.testing.assert_array_equal(
        draw(patient, diagnosis=sick, visibility=0.0), draw(patient, visibility=0.0)
    )
    for label in LABELS:
        shown = draw(patient, diagnosis=diagnose(label), visibility=1.0)
        assert not np.array_equal(shown, draw(patient, visibility=1.0))


def test_lesions_grow_with_visibility():
    patient = patient_number(4)
    healthy = draw(patient).astype(float)
    changes = [
        np.abs(draw(patient, diagnosis=diagnose("dr"), visibility=visibility) - healthy).mean()
        for visibility in (0.1, 0.4, 1.0)
    ]
    assert changes == sorted(changes)
    assert changes[0] > 0
    assert changes[2] > 2 * changes[0]


def lesion_statistic(picture: np.ndarray) -> float:
    """Share of pixels near the middle that are small yellow spots, brighter than around them."""
    height, width = picture.shape[:2]
    smooth = ndimage.gaussian_filter(picture[..., 1].astype(float), 0.7)
    opened = ndimage.grey_opening(smooth, size=7)
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot(rows - height / 2, columns - width / 2) < 0.3 * height
    return float((smooth[inside] > 1.25 * opened[inside] + 4).mean())


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    higher = scores[labels == 1][:, None] - scores[labels == 0][None]
    return float(((higher > 0) + 0.5 * (higher == 0)).mean())


def test_a_simple_lesion_statistic_tells_the_sick_at_visibility_1_and_not_at_0():
    """Known truth: 80 hospital eyes, about half with retinopathy."""
    eyes = [(patient_number(number), eye) for number in range(40) for eye in EYES]
    diagnoses = [sample_diagnosis(patient.key, eye) for patient, eye in eyes]
    labels = np.array([diagnosis.labels["dr"] for diagnosis in diagnoses])
    area = {
        visibility: auroc(
            np.array(
                [
                    lesion_statistic(
                        draw(p, eye, diagnosis=diagnosis, size_px=128, visibility=visibility)
                    )
                    for (p, eye), diagnosis in zip(eyes, diagnoses, strict=True)
                ]
            ),
            labels,
        )
        for visibility in (0.0, 1.0)
    }
    assert area[1.0] > 0.85
    assert 0.35 < area[0.0] < 0.65
