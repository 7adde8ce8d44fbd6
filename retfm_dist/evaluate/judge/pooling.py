"""One difference over several test sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from retfm_dist.evaluate.judge.compare import Comparison, judge_mean
from retfm_dist.evaluate.judge.measure import rounded
from retfm_dist.evaluate.judge.tables import Table, number, p_text, span
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.statistics.clusters import patient_names
from retfm_dist.statistics.meta import pool_effects

_NOTES = {
    True: "Mean of these test sets, each counting the same. They share patients: what a patient "
    "does to several of them adds up. It is about these sets alone.",
    False: "Random effects, DerSimonian-Laird, Hartung-Knapp interval; the test sets share no "
    "patient.",
}


@dataclass(frozen=True)
class Pooled:
    """A difference over several test sets.

    Attributes:
        num_sets: How many.
        value: Mean difference.
        low: Lower end of its interval.
        high: Upper end.
        p: Two-sided p value of no mean difference.
        tau2: Variance of the true differences between test sets; None where they share patients.
        i2: Share of the variation between them that is not sampling error; likewise.
    """

    num_sets: int
    value: float
    low: float | None
    high: float | None
    p: float | None
    tau2: float | None = None
    i2: float | None = None

    @property
    def shares_patients(self) -> bool:
        """Whether a patient is in several of the test sets."""
        return self.tau2 is None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        numbers = {name: rounded(value) for name, value in vars(self).items()}
        return {**numbers, "shares_patients": self.shares_patients}

    def sentence(self) -> str:
        """Return it in words."""
        return (
            f"Over {self.num_sets} test sets: mean difference {number(self.value, signed=True)} "
            f"({span(self.low, self.high, signed=True)}), p {p_text(self.p)}."
        )

    def table(self) -> Table:
        """Return it as a table of one row."""
        row = [
            number(self.value, signed=True),
            span(self.low, self.high, signed=True),
            p_text(self.p),
            number(None if self.tau2 is None else self.tau2**0.5),
            "-" if self.i2 is None else f"{100 * self.i2:.0f} %",
        ]
        headings = ("mean difference", "interval", "p", "tau", "I2")
        note = _NOTES[self.shares_patients]
        return Table("pooled", "All test sets together", headings, [row], note)


def pool_sets(
    compared: Sequence[tuple[Comparison, Predictions]], *, margin: float, alpha: float
) -> Pooled | None:
    """Pool the differences of test sets that allow a test; None where there are fewer than two.

    Args:
        compared: The comparison on each test set, and the predictions of either model on it.
        margin: Largest difference that does not matter.
        alpha: 1 - coverage.
    """
    usable = [(c, item) for c, item in compared if c.test.p is not None and c.difference.variance]
    if len(usable) < 2:
        return None
    differences = [c.difference for c, _ in usable]
    if _share_patients([item for _, item in usable]):
        parts = [(c, 1, patient_names(item.subject_ids)) for c, item in usable]
        test = judge_mean(parts, margin=margin, alpha=alpha)
        return Pooled(len(usable), test.value, test.interval.low, test.interval.high, test.p)
    effects, variances = (
        np.array([getattr(d, name) for d in differences]) for name in ("value", "variance")
    )
    found = pool_effects(effects, variances, alpha=alpha)
    return Pooled(len(usable), **vars(found))


def _share_patients(items: Sequence[Predictions]) -> bool:
    """Return whether two test sets hold an image of one name and of one patient."""
    return any(bool(a & b) for a, b in combinations([_images(item) for item in items], 2))


def _images(item: Predictions) -> set[tuple[Any, Any]]:
    return set(zip(item.uids.tolist(), item.subject_ids.tolist(), strict=True))
