"""The two sites and their cameras: a table of what makes their archives differ.

    specialist_hospital   older, more disease, mixed ancestry, mostly orange-brown pictures
    community_screening   younger, mostly healthy, mostly Chinese, mostly red pictures

All names of cameras are made up. The figures are plausible, not measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Layout = Literal["full", "cut_top_bottom", "cut_four_sides", "notch"]

LABELS = ("dr", "glaucoma")
"""Diseases drawn, in the order of the table's columns label_dr and label_glaucoma."""


@dataclass(frozen=True)
class Device:
    """A camera and its processing.

    Attributes:
        name: As the table words it.
        layout: Shape of the field of view on the picture.
        aspect_ratio: Width / height of the picture.
        color_gain: Factors of red, green and blue.
        gamma: Exponent of the tone curve; above 1 darkens and deepens the contrast.
        vignette: Loss of light at the rim, in [0, 1].
        black_level: Mean value of the surround, of 255.
        noise: Standard deviation of the sensor noise, of 255.
        jpeg_quality: libjpeg's quality setting.
    """

    name: str
    layout: Layout
    aspect_ratio: float
    color_gain: tuple[float, float, float]
    gamma: float
    vignette: float
    black_level: float
    noise: float
    jpeg_quality: int


@dataclass(frozen=True)
class Site:
    """Who is photographed where, and with what.

    Attributes:
        name: As the table words it.
        prefix: First letter of its patient numbers.
        age_mean: Years.
        age_deviation: Years.
        age_range: Youngest and oldest, years.
        ethnicities: Share of each; sums to 1.
        devices: Share of each camera; sums to 1.
        prevalence: Share of eyes with each disease of `LABELS`.
        quality: Share of "good", "usable" and "poor" pictures; sums to 1.
    """

    name: str
    prefix: str
    age_mean: float
    age_deviation: float
    age_range: tuple[float, float]
    ethnicities: Mapping[str, float]
    devices: Mapping[str, float]
    prevalence: Mapping[str, float]
    quality: Mapping[str, float]


PIGMENT_BY_ETHNICITY: Mapping[str, float] = {
    "White": 0.18,
    "Chinese": 0.45,
    "South Asian": 0.62,
    "Black": 0.85,
    "Other": 0.45,
}
"""Mean density of melanin in the pigment epithelium and choroid, from 0 (blond) to 1."""

DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device(
            name="Aurelia T45",
            layout="cut_top_bottom",
            aspect_ratio=1.5,
            color_gain=(0.92, 1.00, 0.50),
            gamma=1.10,
            vignette=0.30,
            black_level=2.0,
            noise=1.6,
            jpeg_quality=90,
        ),
        Device(
            name="Aurelia N40",
            layout="full",
            aspect_ratio=4 / 3,
            color_gain=(0.92, 1.06, 1.20),
            gamma=1.05,
            vignette=0.42,
            black_level=3.0,
            noise=2.2,
            jpeg_quality=88,
        ),
        Device(
            name="Kestrel NM2",
            layout="notch",
            aspect_ratio=1.5,
            color_gain=(1.00, 0.90, 0.92),
            gamma=1.00,
            vignette=0.22,
            black_level=4.0,
            noise=1.3,
            jpeg_quality=92,
        ),
        Device(
            name="Kestrel S1",
            layout="cut_four_sides",
            aspect_ratio=1.0,
            color_gain=(1.08, 1.20, 1.40),
            gamma=0.95,
            vignette=0.35,
            black_level=6.0,
            noise=2.0,
            jpeg_quality=85,
        ),
    )
}

SITES = (
    Site(
        name="specialist_hospital",
        prefix="H",
        age_mean=65.0,
        age_deviation=11.0,
        age_range=(40.0, 95.0),
        ethnicities={
            "White": 0.52,
            "South Asian": 0.18,
            "Black": 0.14,
            "Chinese": 0.08,
            "Other": 0.08,
        },
        devices={"Aurelia T45": 0.65, "Aurelia N40": 0.25, "Kestrel NM2": 0.10},
        prevalence={"dr": 0.45, "glaucoma": 0.35},
        quality={"good": 0.60, "usable": 0.30, "poor": 0.10},
    ),
    Site(
        name="community_screening",
        prefix="C",
        age_mean=47.0,
        age_deviation=13.0,
        age_range=(18.0, 85.0),
        ethnicities={
            "Chinese": 0.72,
            "White": 0.12,
            "South Asian": 0.08,
            "Black": 0.04,
            "Other": 0.04,
        },
        devices={"Kestrel NM2": 0.55, "Kestrel S1": 0.35, "Aurelia T45": 0.10},
        prevalence={"dr": 0.15, "glaucoma": 0.10},
        quality={"good": 0.75, "usable": 0.20, "poor": 0.05},
    ),
)
