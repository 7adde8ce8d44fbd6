import numpy as np
import pytest

from retfm_dist.synth.anatomy import sample_anatomy
from retfm_dist.synth.cohort import Diagnosis, sample_patient
from retfm_dist.synth.draw.background import draw_background
from retfm_dist.synth.draw.field import build_field
from retfm_dist.synth.sites import DEVICES, LABELS
from retfm_dist.synth.streams import PatientKey, Purpose, open_stream

KEY = PatientKey(7, 0, 3)


@pytest.fixture
def device():
    return DEVICES["Aurelia N40"]


@pytest.fixture
def field(device):
    return build_field(device.layout, size_px=160, aspect_ratio=device.aspect_ratio)


@pytest.fixture
def anatomy():
    healthy = Diagnosis(labels=dict.fromkeys(LABELS, 0), severity=dict.fromkeys(LABELS, 0.8))
    return sample_anatomy(sample_patient(KEY), "right", diagnosis=healthy, visibility=1.0)


@pytest.fixture
def stream():
    """Makes the same stream of random numbers each time it is called."""
    return lambda purpose=Purpose.TEXTURE: open_stream(KEY, purpose, eye="right")


@pytest.fixture
def light(anatomy, field, stream):
    return draw_background(anatomy, field, stream())


@pytest.fixture
def gray():
    """An even light of the shape of another."""
    return lambda light: np.full_like(light, 0.5)
