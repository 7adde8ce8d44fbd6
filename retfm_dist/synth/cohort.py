"""Sample the patients of a site: demographics, camera, and the diseases of each eye.

Disease follows the liability model: an eye is diseased where a normal number, correlated between
the two eyes of a patient, exceeds the threshold of the site's prevalence. Given the site, labels
are independent of age, sex, ethnicity, camera and quality: what a model finds in the pixels at
visibility 0 can then only be the site.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.special import ndtri

from retfm_dist.cohort.records import Eye
from retfm_dist.synth.sites import LABELS, SITES, Site
from retfm_dist.synth.streams import EyeDraws, PatientKey, Purpose, open_stream

EYES: tuple[Eye, Eye] = ("left", "right")

_FELLOW_EYE_CORRELATION = 0.85
_FIRST_DAY = datetime.date(2008, 1, 1)
_NUM_DAYS = 3653


@dataclass(frozen=True)
class Patient:
    """One patient at one visit.

    Attributes:
        key: Who is drawn; all of the rest follows from it.
        patient_id: Made-up hospital number, such as H000012.
        exam_id: Made-up number of the visit.
        age: Years, to one decimal.
        sex: "female" or "male".
        ethnicity: A key of `PIGMENT_BY_ETHNICITY`.
        device: A key of `DEVICES`.
        site: Name of the site.
        captured_on: ISO date.
    """

    key: PatientKey
    patient_id: str
    exam_id: str
    age: float
    sex: str
    ethnicity: str
    device: str
    site: str
    captured_on: str


@dataclass(frozen=True)
class Diagnosis:
    """Diseases of one eye.

    Attributes:
        labels: 0 or 1 for each of `LABELS`.
        severity: How advanced each disease would be, in [0.4, 1]; meaningless where the label
            is 0.
    """

    labels: Mapping[str, int]
    severity: Mapping[str, float]


def sample_patient(key: PatientKey) -> Patient:
    """Draw a patient of the site that the key names."""
    site = SITES[key.site]
    stream = open_stream(key, Purpose.PERSON)
    age = np.clip(stream.normal(site.age_mean, site.age_deviation), *site.age_range)
    day = _FIRST_DAY + datetime.timedelta(days=int(stream.integers(_NUM_DAYS)))
    return Patient(
        key=key,
        patient_id=f"{site.prefix}{key.number:06d}",
        exam_id=f"{site.prefix}{key.number:06d}-{day:%Y%m%d}",
        age=round(float(age), 1),
        sex=_choose({"female": 0.52, "male": 0.48}, stream),
        ethnicity=_choose(site.ethnicities, stream),
        device=_choose(site.devices, stream),
        site=site.name,
        captured_on=day.isoformat(),
    )


def sample_diagnosis(key: PatientKey, eye: Eye) -> Diagnosis:
    """Draw the labels of one eye."""
    site = SITES[key.site]
    draws = EyeDraws(key, Purpose.LABELS, eye=eye, correlation=_FELLOW_EYE_CORRELATION)
    liability = dict(zip(LABELS, draws.normals(len(LABELS)), strict=True))
    severity = dict(zip(LABELS, 0.4 + 0.6 * draws.uniforms(len(LABELS)), strict=True))
    return Diagnosis(
        labels={name: int(liability[name] > _threshold(site, name)) for name in LABELS},
        severity={name: float(severity[name]) for name in LABELS},
    )


def sample_quality(key: PatientKey, eye: Eye) -> str:
    """Draw the quality grade of one picture: "good", "usable" or "poor"."""
    draws = EyeDraws(key, Purpose.CAPTURE, eye=eye, correlation=0.6)
    return _pick(SITES[key.site].quality, draws.uniform())


def _threshold(site: Site, label: str) -> float:
    return float(ndtri(1 - site.prevalence[label]))


def _choose(shares: Mapping[str, float], stream: Generator) -> str:
    return _pick(shares, float(stream.random()))


def _pick(shares: Mapping[str, float], uniform: float) -> str:
    """Return the name in whose share of [0, 1) the number falls."""
    edges = np.cumsum(list(shares.values()))
    return list(shares)[min(int(np.searchsorted(edges, uniform, side="right")), len(shares) - 1)]
