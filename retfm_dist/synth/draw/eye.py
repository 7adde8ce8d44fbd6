"""Draw one picture from the values that describe it."""

import numpy as np
from numpy.typing import NDArray

from retfm_dist.cohort.records import Eye
from retfm_dist.synth.anatomy import sample_anatomy, sample_capture
from retfm_dist.synth.cohort import Diagnosis, Patient, sample_quality
from retfm_dist.synth.draw.background import draw_background
from retfm_dist.synth.draw.camera import take_picture
from retfm_dist.synth.draw.disc import blend_disc
from retfm_dist.synth.draw.field import build_field, mirror_field
from retfm_dist.synth.draw.lesions import (
    cover_with_blood,
    cover_with_exudates,
    draw_exudates,
    draw_hemorrhages,
)
from retfm_dist.synth.draw.vessels import absorb_vessels
from retfm_dist.synth.sites import DEVICES
from retfm_dist.synth.streams import Purpose, open_stream


def draw_eye(
    patient: Patient, eye: Eye, *, diagnosis: Diagnosis, size_px: int, visibility: float
) -> NDArray[np.uint8]:
    """Draw the picture of one eye; a pure function of its arguments.

    Args:
        patient: Whose eye.
        eye: Which.
        diagnosis: Diseases of the eye.
        size_px: Height of the picture; the camera's format gives the width.
        visibility: How much a disease shows, in [0, 1].

    Returns:
        uint8 [H, W, 3], red green blue.
    """
    anatomy = sample_anatomy(patient, eye, diagnosis=diagnosis, visibility=visibility)
    quality = sample_quality(patient.key, eye)
    device = DEVICES[patient.device]
    field = build_field(device.layout, size_px=size_px, aspect_ratio=device.aspect_ratio)
    # The eye is mirrored, the camera's own marks (notch, flare) are not.
    retina = mirror_field(field) if anatomy.mirrored else field
    texture = open_stream(patient.key, Purpose.TEXTURE, eye=eye)
    light = draw_background(anatomy, retina, texture)
    lesions = open_stream(patient.key, Purpose.LESIONS, eye=eye)
    has_lesions = visibility > 0 and diagnosis.labels["dr"] == 1
    extent = {"severity": diagnosis.severity["dr"], "visibility": visibility}
    blend_disc(light, anatomy, retina)
    if has_lesions:
        cover_with_exudates(light, draw_exudates(anatomy, retina, **extent, stream=lesions))
    absorb_vessels(light, anatomy, retina)
    if has_lesions:
        cover_with_blood(light, draw_hemorrhages(retina, **extent, stream=lesions))
    return take_picture(
        light,
        anatomy,
        sample_capture(patient.key, eye, quality=quality),
        device=device,
        field=field,
        stream=open_stream(patient.key, Purpose.NOISE, eye=eye),
    )
