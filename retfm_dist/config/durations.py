"""Lengths of training, written as "15 epochs", "2000 steps" or "1000000 images"."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

_PATTERN = re.compile(r"(\d+(?:\.\d+)?) (epochs?|steps?|images?)")


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
        # All digits of the shortest form that is this float, without an exponent.
        digits = format(Decimal(repr(self.amount)), "f")
        return f"{digits.removesuffix('.0')} {self.unit}"


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
