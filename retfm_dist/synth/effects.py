"""Planted effects: how visible the labels are in the pixels, and for whom.

Visibility 0 draws diseased eyes exactly as healthy ones, so that within a site the labels are
noise; 1 makes them obvious. Rules set another visibility for a subgroup, which plants a known
fairness gap.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from retfm_dist.errors import CohortError
from retfm_dist.synth.cohort import Patient

Sign = Literal["=", ">=", "<"]
"""How a rule compares."""

_SIGNS: dict[str, Sign] = {"=": "=", ">=": ">=", "<": "<"}
_RULE = re.compile(r"^(?P<column>[a-z_]+)(?P<sign>>=|<|=)(?P<value>[^:]+):(?P<visibility>[^:]+)$")
_TEXT_COLUMNS = ("sex", "ethnicity", "device", "site")


@dataclass(frozen=True)
class VisibilityRule:
    """Another lesion visibility for the patients that one column singles out.

    Attributes:
        column: "age", "sex", "ethnicity", "device" or "site".
        sign: "=", or for the age ">=" or "<".
        value: Compared with the patient's; years for the age.
        visibility: In [0, 1].
    """

    column: str
    sign: Sign
    value: str
    visibility: float

    def __post_init__(self) -> None:
        """Refuse rules that could never mean anything.

        Raises:
            CohortError: Unknown column, a sign that does not fit it, an age that is not a number,
                or a visibility outside [0, 1].
        """
        check_visibility(self.visibility)
        text = f"{self.column}{self.sign}{self.value}"
        if self.column in _TEXT_COLUMNS and self.sign == "=":
            return
        if self.column != "age" or self.sign == "=":
            raise CohortError(
                "the visibility rule names no subgroup",
                where="--visibility-for",
                got=text,
                expected=f"age>=YEARS, age<YEARS or one of {', '.join(_TEXT_COLUMNS)} = VALUE",
            )
        try:
            float(self.value)
        except ValueError as error:
            raise CohortError(
                "the visibility rule's age is not a number", where="--visibility-for", got=text
            ) from error

    def applies_to(self, patient: Patient) -> bool:
        """Return whether the patient belongs to the rule's subgroup."""
        if self.column == "age":
            is_older = patient.age >= float(self.value)
            return is_older if self.sign == ">=" else not is_older
        return getattr(patient, self.column) == self.value


def parse_rule(text: str) -> VisibilityRule:
    """Read a rule such as "sex=female:0.2" or "age>=60:0.5".

    Raises:
        CohortError: The text is not a rule.
    """
    match = _RULE.match(text.strip())
    if match is None:
        raise CohortError(
            "not a visibility rule",
            where="--visibility-for",
            got=repr(text),
            expected="COLUMN=VALUE:VISIBILITY, such as sex=female:0.2 or age>=60:0.5",
        )
    column, sign, value, visibility = match.groups()
    try:
        number = float(visibility)
    except ValueError as error:
        raise CohortError(
            "the visibility is not a number", where="--visibility-for", got=repr(text)
        ) from error
    return VisibilityRule(column=column, sign=_SIGNS[sign], value=value, visibility=number)


def visibility_of(patient: Patient, *, base: float, rules: Sequence[VisibilityRule]) -> float:
    """Return the lesion visibility of a patient: the last rule that applies, else `base`."""
    applying = [rule.visibility for rule in rules if rule.applies_to(patient)]
    return applying[-1] if applying else base


def check_visibility(value: float) -> None:
    """Refuse a visibility outside [0, 1].

    Raises:
        CohortError: `value` is outside, or not a number.
    """
    if not 0.0 <= value <= 1.0:
        raise CohortError("unusable lesion visibility", got=value, expected="0 to 1")
