"""Random numbers of the generator: one stream per (seed, patient, eye, purpose).

    key      seed, site << 48 | patient number << 16 | eye << 8 | purpose
    counter  0

Streams are independent, so a patient can be drawn alone, in any process, and is the same in a
cohort of any size. A value of `Purpose` is part of every cohort drawn: add members, never
renumber them.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray
from scipy.special import ndtr

from retfm_dist.cohort.records import Eye

Floats = NDArray[np.float32]

_EYE_CODES = {None: 0, "left": 1, "right": 2}


class Purpose(IntEnum):
    """What random numbers are drawn for."""

    PERSON = 0
    """Demographics and the liability to disease."""
    LABELS = 1
    """Which eye is diseased, and how much."""
    ANATOMY = 2
    """Disc, fovea, pigment."""
    VESSELS = 3
    """Vessel tree."""
    CAPTURE = 4
    """Camera position, quality, file format."""
    TEXTURE = 5
    """Choroid and mottling."""
    LESIONS = 6
    """Places and shapes of lesions."""
    NOISE = 7
    """Sensor noise."""
    CODEC = 8
    """Kind of file."""


@dataclass(frozen=True)
class PatientKey:
    """Who is drawn.

    Attributes:
        seed: Seed of the cohort, in [0, 2**63).
        site: Index of the site, below 2**8.
        number: Number of the patient within the site, below 2**32.
    """

    seed: int
    site: int
    number: int


def open_stream(patient: PatientKey, purpose: Purpose, *, eye: Eye | None = None) -> Generator:
    """Return the generator of one purpose; without `eye`, it is shared by both eyes."""
    low = patient.site << 48 | patient.number << 16 | _EYE_CODES[eye] << 8 | purpose
    return Generator(Philox(key=np.array([patient.seed, low], dtype=np.uint64)))


class EyeDraws:
    """Draws for one eye that correlate with those for the fellow eye.

    Each standard normal is sqrt(c) * person + sqrt(1 - c) * eye, where c is the correlation
    between the two eyes of a patient.
    """

    def __init__(
        self, patient: PatientKey, purpose: Purpose, *, eye: Eye, correlation: float
    ) -> None:
        """Open the patient's and the eye's stream of `purpose`."""
        self._person = open_stream(patient, purpose)
        self._eye = open_stream(patient, purpose, eye=eye)
        self._weights = np.sqrt(correlation), np.sqrt(1 - correlation)

    def normals(self, *shape: int) -> NDArray[np.float64]:
        """Draw standard normals of the shape given."""
        person, eye = self._weights
        drawn = person * self._person.standard_normal(shape)
        return np.asarray(drawn + eye * self._eye.standard_normal(shape))

    def uniforms(self, *shape: int) -> NDArray[np.float64]:
        """Draw numbers uniform in (0, 1) of the shape given."""
        return np.asarray(ndtr(self.normals(*shape)))

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """Draw one normal number."""
        return mean + deviation * float(self.normals())

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw one number uniform in (low, high)."""
        return low + (high - low) * float(self.uniforms())
