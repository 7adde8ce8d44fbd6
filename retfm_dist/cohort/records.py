"""One image of an archive table as a frozen record, and the spelling of its values.

Values are normalized conservatively: what has one meaning gets one spelling, what could have two
is refused. Missing values are None.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from retfm_dist.cohort.spelling import clean_text, form_of
from retfm_dist.errors import CohortError

Eye = Literal["left", "right"]

# OD is oculus dexter, the right eye; OS is oculus sinister, the left eye.
_EYES: Mapping[str, Eye] = {
    "l": "left",
    "left": "left",
    "os": "left",
    "r": "right",
    "right": "right",
    "od": "right",
}
_SEXES = {
    "f": "female",
    "female": "female",
    "m": "male",
    "male": "male",
    "o": "other",
    "other": "other",
}
MAX_AGE_YEARS = 130

# Plain decimal numbers; float() also takes 1_0, 1e1, and digits of other scripts.
_AGE = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_COLOR_FUNDUS = re.compile(
    r"cfp?|(colou?r )?fundus( (camera|photo|photograph|photography|photographs))?"
)


@dataclass(frozen=True)
class ImageRecord:
    """One row of an archive table.

    Attributes:
        row: Row of the table, 1-based, the header not counted.
        image_path: File of the image, as the table names it. Never leaves the hospital.
        patient_id: Hospital's own patient number. Never leaves the hospital.
        exam_id: Hospital's own examination number. Never leaves the hospital.
        eye: "left" or "right".
        age: Years at capture.
        sex: "female", "male" or "other".
        ethnicity: As the table words it.
        device: Camera, as the table words it.
        site: Clinic or data source, as the table words it.
        captured_on: Date of capture as the table words it. Never leaves the hospital.
        quality: Quality grade as the table words it.
        modality: "cfp", "oct" and so on, in lower case.
        labels: Values of the columns `label_*` and of those kept by name; text, None if missing.
    """

    row: int
    image_path: str = field(repr=False)
    patient_id: str = field(repr=False)
    exam_id: str | None = field(default=None, repr=False)
    eye: Eye | None = None
    age: float | None = None
    sex: str | None = None
    ethnicity: str | None = None
    device: str | None = None
    site: str | None = None
    captured_on: str | None = field(default=None, repr=False)
    quality: str | None = None
    modality: str | None = None
    labels: Mapping[str, str | None] = field(default_factory=dict)


def parse_text(value: str | None, *, where: str) -> str | None:
    """Read a text as it is; see `clean_text`.

    Args:
        value: Cell of the table.
        where: Not used; every parser takes it.
    """
    del where
    return clean_text(value)


def parse_path(value: str | None, *, where: str) -> str | None:
    """Read a path: letters stay as they are, since they name a file; only its padding goes.

    Args:
        value: Cell of the table.
        where: Not used; every parser takes it.
    """
    del where
    return (value or "").strip(" \t\r\n\0\ufeff") or None


def parse_modality(value: str | None, *, where: str) -> str | None:
    """Read a modality such as "oct", in lower case; color fundus photographs are "cfp".

    Args:
        value: Cell of the table.
        where: Not used; every parser takes it.
    """
    text = parse_text(value, where=where)
    if text is None:
        return None
    name = " ".join(re.split(r"[\s_-]+", text.lower()))
    return "cfp" if _COLOR_FUNDUS.fullmatch(name) else name


def parse_eye(value: str | None, *, where: str) -> Eye | None:
    """Read an eye: L, left, OS or R, right, OD in any case.

    Args:
        value: Cell of the table.
        where: File, row and column, for the message.

    Raises:
        CohortError: Any other value.
    """
    text = clean_text(value)
    if text is None:
        return None
    if text.lower() not in _EYES:
        raise CohortError(
            "unknown eye",
            where=where,
            got=form_of(text),
            expected="left, right, L, R, OS, OD or an empty cell",
        )
    return _EYES[text.lower()]


def parse_sex(value: str | None, *, where: str) -> str | None:
    """Read a sex: F, female, M, male, O, other in any case; numbers are ambiguous and refused.

    Args:
        value: Cell of the table.
        where: File, row and column, for the message.

    Raises:
        CohortError: Any other value.
    """
    text = clean_text(value)
    if text is None:
        return None
    if text.lower() not in _SEXES:
        raise CohortError(
            "unknown sex",
            where=where,
            got=form_of(text),
            expected="female, male, other, F, M, O or an empty cell",
        )
    return _SEXES[text.lower()]


def parse_age(value: str | None, *, where: str) -> float | None:
    """Read an age in years.

    Args:
        value: Cell of the table.
        where: File, row and column, for the message.

    Raises:
        CohortError: No number, or one outside [0, 130].
    """
    text = clean_text(value)
    if text is None:
        return None
    if not _AGE.fullmatch(text) or float(text) > MAX_AGE_YEARS:
        raise CohortError(
            "unusable age",
            where=where,
            got=form_of(text),
            expected=f"years from 0 to {MAX_AGE_YEARS} or an empty cell",
        )
    return float(text)
