"""How precisely the numbers of groups are printed, so that no hidden count follows from them.

A share tells of how many it is one: a sensitivity of 0.2174 in a group of about 50 positive images
is 10 of 46, and what a smaller group holds is the rest of a known total. Where counts of an
attribute are hidden, its numbers are therefore printed to two decimals, in every form, and shares
more coarsely still where they would leave too few counts possible.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retfm_dist.cohort.disclosure import SMALLEST_CELL, printable_groups
from retfm_dist.evaluate.judge.fairness import RATES, GroupingScore, GroupScore
from retfm_dist.evaluate.judge.measure import rounded
from retfm_dist.evaluate.judge.tables import number, span

_FEWEST_COUNTS = 3
"""Numbers of positive images, near the true one, that printed shares have to leave possible."""
_COARSE_DIGITS = 2
ODDS = "equalized_odds"
"""A difference of shares, printed as they are."""


@dataclass(frozen=True)
class Precision:
    """How precisely numbers of one attribute are printed.

    Attributes:
        digits: Decimals; None where nothing is hidden.
        rate_digits: Of sensitivity, specificity and equalized odds; likewise.
        shows_rates: Whether these are printed at all.
    """

    digits: int | None = None
    rate_digits: int | None = None
    shows_rates: bool = True

    def decimals(self, name: str) -> int | None:
        """Return the decimals of a metric."""
        return self.rate_digits if name in (*RATES, ODDS) else self.digits

    def text(self, value: float | None, name: str = "auroc", *, signed: bool = False) -> str:
        """Return a value of a metric as tables show it."""
        digits = self.decimals(name)
        return number(value, digits=3 if digits is None else digits, signed=signed)

    def interval(
        self, low: float | None, high: float | None, name: str = "auroc", *, signed: bool = False
    ) -> str:
        """Return an interval of a metric as tables show it."""
        digits = self.decimals(name)
        return span(low, high, digits=3 if digits is None else digits, signed=signed)

    def json(self, value: float | None, name: str = "auroc") -> float | None:
        """Return a value of a metric as files hold it."""
        digits, kept = self.decimals(name), rounded(value)
        return kept if kept is None or digits is None else round(kept, digits)


def printable_counts(item: GroupingScore) -> list[dict[str, str]]:
    """Return printable sizes; of joint groups none, which would undo the hiding in single ones."""
    if item.grouping.is_joint:
        return [{"group": group.name} for group in item.groups]
    missing = int((item.grouping.codes < 0).sum())
    rows: list[dict[str, Any]] = [
        {
            "group": group.name,
            "num_images": group.num_images,
            "num_patients": group.num_patients,
            "num_positive_patients": group.num_positive_patients,
        }
        for group in item.groups
    ]
    if missing:  # the last cell of the partition: hiding has to count it
        rows.append(
            {
                "group": "missing",
                "num_images": 0,
                "num_patients": missing,
                "num_positive_patients": 0,
            }
        )
    return printable_groups(item.grouping.name, rows)[: len(item.groups)]


def precision_of(item: GroupingScore) -> Precision:
    """Return how precisely the numbers of an attribute may be printed."""
    rows = printable_counts(item)
    hiding = [item.grouping.is_joint or "-" in row.values() for row in rows]
    if not any(hiding):
        return Precision()
    told = [g for g, hides in zip(item.groups, hiding, strict=True) if hides and g.is_judged]
    for digits in (_COARSE_DIGITS, 1):
        if all(len(possible_counts(group, digits)) >= _FEWEST_COUNTS for group in told):
            return Precision(_COARSE_DIGITS, digits)
    return Precision(_COARSE_DIGITS, 1, shows_rates=False)


def possible_counts(group: GroupScore, digits: int) -> Sequence[int]:
    """Return which numbers of positive images explain the printed shares of a group.

    Only numbers are counted that are within `SMALLEST_CELL` of the true one, since what is hidden
    beside the group is smaller than that.

    Args:
        group: It is judged.
        digits: Decimals of the shares.
    """
    truth, images = group.num_positive_images, group.num_images
    near = range(max(1, truth - SMALLEST_CELL + 1), min(images, truth + SMALLEST_CELL))
    rates = [group.scored[name].value if name in group.scored else None for name in RATES]
    return [
        count
        for count in near
        if all(
            rate is None or _is_possible(rate, size, digits)
            for rate, size in zip(rates, (count, images - count), strict=True)
        )
    ]


def _is_possible(rate: float, size: int, digits: int) -> bool:
    """Return whether some share of `size` images is printed as `rate` is."""
    printed, half = round(rate, digits), 0.5 * 10**-digits
    fewest, most = (math.floor((printed + side * half) * size) for side in (-1, 1))
    counts = range(max(fewest, 0), min(most + 1, size) + 1)
    return any(round(count / size, digits) == printed for count in counts)
