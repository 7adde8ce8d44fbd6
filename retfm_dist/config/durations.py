"""Lengths of training ("15 epochs", "2000 steps", "1000000 images") and intervals of saving."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

_PATTERN = re.compile(r"(\d+(?:\.\d+)?) (epochs?|steps?|images?)")
_BY_CLOCK = re.compile(r"(\d+(?:\.\d+)?) (minutes?|hours?)|auto|continuous")


class _Duration(BaseModel):
    """A length of training in one of three units.

    Attributes:
        amount: How many of `unit`, >= 0; fractions are allowed for epochs.
        unit: "epochs", "steps" or "images".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: float
    unit: Literal["epochs", "steps", "images"]

    def to_steps(self, *, steps_per_epoch: int, global_batch_size: int) -> int:
        """Return the length in optimizer steps, rounded to the nearest, at least 1 if not zero."""
        match self.unit:
            case "steps":
                steps = self.amount
            case "epochs":
                steps = self.amount * steps_per_epoch
            case "images":
                steps = self.amount / global_batch_size
        return max(1, round(steps)) if self.amount > 0 else 0

    def __str__(self) -> str:
        """Return the form that a YAML file holds; read back, it is the same length."""
        return f"{_digits(self.amount)} {self.unit}"


def _digits(amount: float) -> str:
    """Return all digits of the shortest form that is this float, without an exponent."""
    return format(Decimal(repr(amount)), "f").removesuffix(".0")


def _parse(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _PATTERN.fullmatch(value.strip())
    if match is None or (match[2].startswith(("step", "image")) and "." in match[1]):
        raise ValueError(
            'write a number and a unit, such as "15 epochs", "2000 steps" or "100000 images"'
        )
    return {"amount": float(match[1]), "unit": match[2].rstrip("s") + "s"}


Duration = Annotated[
    _Duration,
    BeforeValidator(_parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_PATTERN.pattern}$"}),
]


class SaveInterval(BaseModel):
    """When checkpoints are due.

    Attributes:
        duration: A length of training between them; None where the clock decides.
        amount: Time between them, in `unit`, > 0; 0 where that is "auto" or "continuous".
        unit: "minutes", "hours", "auto" or "continuous"; "steps" where `duration` decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    duration: _Duration | None = None
    amount: float = 0.0
    unit: Literal["steps", "minutes", "hours", "auto", "continuous"] = "steps"

    def __str__(self) -> str:
        """Return the form that a YAML file holds; read back, it is the same interval."""
        if self.duration is not None:
            return str(self.duration)
        return f"{_digits(self.amount)} {self.unit}" if self.amount else self.unit


def _parse_interval(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if (match := _BY_CLOCK.fullmatch(value.strip())) is None:
        try:
            return {"duration": _parse(value)}
        except ValueError as error:
            raise ValueError(f'{error}; or "30 minutes", "2 hours", "auto", "continuous"') from None
    if match[1] is None:
        return {"unit": match[0]}
    if float(match[1]) == 0:
        raise ValueError('a time must be above 0; "continuous" saves as often as can be')
    return {"amount": float(match[1]), "unit": match[2].rstrip("s") + "s"}


SaveEvery = Annotated[
    SaveInterval,
    BeforeValidator(_parse_interval),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_PATTERN.pattern}|{_BY_CLOCK.pattern})$"}),
]
