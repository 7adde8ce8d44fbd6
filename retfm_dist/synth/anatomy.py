"""Sample the anatomy of an eye and the way it is photographed, as plain frozen values.

Coordinates are those of a right eye as the camera shows it: x grows toward the nose, y upward,
the unit is the radius of the field of view (about 22 degrees, 6.5 mm). `mirrored` tells the left
eye, which is drawn with x reversed. Fellow eyes are correlated.
"""

from dataclasses import dataclass

import numpy as np

from retfm_dist.cohort.records import Eye
from retfm_dist.synth.cohort import Diagnosis, Patient
from retfm_dist.synth.sites import PIGMENT_BY_ETHNICITY
from retfm_dist.synth.streams import EyeDraws, PatientKey, Purpose
from retfm_dist.synth.vessel_tree import VesselTree, grow_vessels

FELLOW_EYE_CORRELATION = 0.8

_MAX_CUP_RATIO = 0.9


@dataclass(frozen=True)
class Disc:
    """Optic disc.

    Attributes:
        x: Center.
        y: Center.
        width: Horizontal radius.
        height: Vertical radius.
        tilt: Rotation, radians.
        cup_ratio: Vertical cup-to-disc ratio; the sign of glaucoma is a large one.
        pallor: Whiteness of the rim, in [0, 1].
        crescent: Strength of the pale crescent on its temporal side, in [0, 1].
    """

    x: float
    y: float
    width: float
    height: float
    tilt: float
    cup_ratio: float
    pallor: float
    crescent: float


@dataclass(frozen=True)
class Anatomy:
    """One eye.

    Attributes:
        mirrored: True for a left eye.
        disc: Optic disc.
        fovea_x: Center of the macula.
        fovea_y: Center of the macula.
        fovea_depth: Darkening of the fovea, about 0.3 to 1.
        pigment: Melanin, 0 (blond) to 1.
        tessellation: How far choroidal vessels shine through, in [0, 1].
        sheen: Reflexes of a young retina, in [0, 1].
        haze: Veil of an old lens, in [0, 1].
        drusen: Number of drusen; they come with age.
        hue: Personal deviation of the fundus color, about -1 (yellow) to 1 (red).
        vessels: Vessel tree, its coordinates relative to the disc's center.
    """

    mirrored: bool
    disc: Disc
    fovea_x: float
    fovea_y: float
    fovea_depth: float
    pigment: float
    tessellation: float
    sheen: float
    haze: float
    drusen: int
    hue: float
    vessels: VesselTree


@dataclass(frozen=True)
class Capture:
    """One picture of an eye.

    Attributes:
        exposure: Factor of all light.
        blur: Standard deviation of the point spread, in thousandths of the field's radius.
        veil: Stray light, in [0, 1].
        shade: Depth of uneven illumination, in [0, 1].
        shade_angle: Direction of the darker side, radians.
        flare: Brightness of a crescent at the rim, in [0, 1]; mostly 0.
        flare_angle: Its direction, radians.
        warmth: Deviation of the white balance, about -1 to 1.
    """

    exposure: float
    blur: float
    veil: float
    shade: float
    shade_angle: float
    flare: float
    flare_angle: float
    warmth: float


def sample_anatomy(
    patient: Patient, eye: Eye, *, diagnosis: Diagnosis, visibility: float
) -> Anatomy:
    """Draw the anatomy of one eye.

    Args:
        patient: Whose eye.
        eye: Which.
        diagnosis: Of the labels, glaucoma shapes the disc.
        visibility: How much a disease shows, in [0, 1].
    """
    draws = EyeDraws(patient.key, Purpose.ANATOMY, eye=eye, correlation=FELLOW_EYE_CORRELATION)
    center_x, center_y = _sample_gaze(draws)
    fovea = np.array([-0.66 + draws.normal(0, 0.025), -0.06 + draws.normal(0, 0.03)])
    glaucoma = visibility * diagnosis.labels["glaucoma"] * diagnosis.severity["glaucoma"]
    disc = _sample_disc(draws, age=patient.age, glaucoma=glaucoma, center=(center_x, center_y))
    pigment = float(
        np.clip(PIGMENT_BY_ETHNICITY[patient.ethnicity] + draws.normal(0, 0.10), 0.02, 1.0)
    )
    aging = max(0.0, patient.age - 45) / 40
    tessellation = 0.30 - 0.3 * pigment + 0.30 * aging + draws.normal(0, 0.22)
    return Anatomy(
        mirrored=eye == "left",
        disc=disc,
        fovea_x=disc.x + float(fovea[0]),
        fovea_y=disc.y + float(fovea[1]),
        fovea_depth=float(np.clip(draws.normal(0.62, 0.16), 0.25, 1.0)),
        pigment=pigment,
        tessellation=float(np.clip(tessellation, 0.04, 1.0)),
        sheen=float(np.clip((42 - patient.age) / 22 + draws.normal(0, 0.2), 0, 1)),
        haze=float(np.clip(0.5 * (aging - 0.45) + draws.normal(0, 0.10), 0, 0.6)),
        drusen=int(max(0.0, 38 * (aging - 0.35) * np.exp(draws.normal(0, 0.7)))),
        hue=draws.normal(0, 0.6),
        vessels=_sample_vessels(patient.key, eye, fovea=fovea, cup_shift=0.3 * disc.width),
    )


def sample_capture(key: PatientKey, eye: Eye, *, quality: str) -> Capture:
    """Draw how the picture is taken; a poor one is blurred, veiled and unevenly lit."""
    draws = EyeDraws(key, Purpose.CAPTURE, eye=eye, correlation=0.6)
    draws.uniform()  # the quality itself, see cohort.sample_quality
    blur, veil, shade = {
        "good": (1.2, 0.02, 0.20),
        "usable": (3.8, 0.08, 0.35),
        "poor": (9.0, 0.20, 0.65),
    }[quality]
    flare_chance = {"good": 0.10, "usable": 0.3, "poor": 0.6}[quality]
    return Capture(
        exposure=float(np.exp(draws.normal(0, 0.12))),
        blur=blur * draws.uniform(0.6, 1.4),
        veil=veil * draws.uniform(0.5, 1.5),
        shade=shade * draws.uniform(0.5, 1.3),
        shade_angle=draws.uniform(-np.pi, np.pi),
        flare=draws.uniform(0.25, 0.9) if draws.uniform() < flare_chance else 0.0,
        flare_angle=draws.uniform(-np.pi, np.pi),
        warmth=draws.normal(0, 0.5),
    )


def _sample_gaze(draws: EyeDraws) -> tuple[float, float]:
    """Return the disc's place: pictures center on the macula, or between it and the disc."""
    on_macula = draws.uniform() < 0.55
    x = draws.normal(0.64 if on_macula else 0.40, 0.05)
    return x, draws.normal(0.04, 0.05)


def _sample_disc(
    draws: EyeDraws, *, age: float, glaucoma: float, center: tuple[float, float]
) -> Disc:
    """Draw the disc; `glaucoma` in [0, 1] widens the cup and pales the rim."""
    width = float(np.clip(draws.normal(0.128, 0.011), 0.10, 0.16))
    oval = float(np.clip(draws.normal(1.08, 0.05), 0.95, 1.25))
    healthy = float(np.clip(draws.normal(0.36, 0.08), 0.12, 0.55))
    advanced = min(_MAX_CUP_RATIO, healthy + 0.2 + 0.35 * glaucoma)
    return Disc(
        x=center[0],
        y=center[1],
        width=width,
        height=width * oval,
        tilt=draws.normal(0, 0.12),
        cup_ratio=healthy + (advanced - healthy) * min(1.0, 2.5 * glaucoma),
        pallor=float(np.clip(0.30 + 0.35 * glaucoma + draws.normal(0, 0.1), 0.05, 0.9)),
        crescent=float(np.clip(0.012 * (age - 50) + draws.normal(0, 0.35), 0, 1)),
    )


def _sample_vessels(
    key: PatientKey, eye: Eye, *, fovea: np.ndarray, cup_shift: float
) -> VesselTree:
    draws = EyeDraws(key, Purpose.VESSELS, eye=eye, correlation=FELLOW_EYE_CORRELATION)
    return grow_vessels(draws, fovea=fovea, origin_x=cup_shift)
