"""The two models of a transfer study in each place: adaptation set, test set and task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from retfm_dist.evaluate.judge.compare import (
    Comparison,
    align,
    claim_of,
    compare_metrics,
    judge_mean,
    paired_json,
)
from retfm_dist.evaluate.judge.measure import rounded
from retfm_dist.evaluate.judge.tables import Table, number, p_text, span
from retfm_dist.evaluate.judge.transfer_cells import METRIC, Cell, CellScore
from retfm_dist.statistics.multiplicity import adjust, holm
from retfm_dist.statistics.paired import PairedTest, adjusted_verdict
from retfm_dist.statistics.shares import Share, clustered_share


@dataclass(frozen=True)
class Delta:
    """The two models in one place.

    Attributes:
        cell: Of the first model.
        comparison: First minus second.
        p_holm: Adjusted for all places; None without a test.
        own_site: 1 where the first model is of the test set's own site and the second is not, -1
            the other way round; 0 where sites are not told, both models are of it, or neither.
        patients: [P] names of the patients, in the order of the comparison's influences; a test
            set's name is part of them.
    """

    cell: Cell
    comparison: Comparison
    p_holm: float | None
    own_site: int
    patients: NDArray

    @property
    def favors_own_site(self) -> bool | None:
        """Whether the model of the own site has the higher value; None without `own_site`."""
        return self.comparison.test.value * self.own_site > 0 if self.own_site else None


@dataclass(frozen=True)
class OwnSite:
    """What the model of the test set's own site gains, over all places.

    Attributes:
        deltas: The places where one model is of the own site and the other is not.
        share: In which it has the higher value.
        advantage: Mean of its value less the other's; None where no place can be tested.
        num_tested: Places in that mean.
    """

    deltas: Sequence[Delta]
    share: Share
    advantage: PairedTest | None
    num_tested: int

    def as_json(self, *, alpha: float) -> dict[str, Any]:
        """Return it as JSON values."""
        shown = [d for d in self.deltas if d.p_holm is not None and d.p_holm <= alpha]
        mean = self.advantage
        return {
            "places": len(self.deltas),
            "independent_groups": self.share.num_groups,
            "own_site_better": sum(bool(d.favors_own_site) for d in self.deltas),
            "share": rounded(self.share.value),
            "lo": rounded(self.share.low),
            "hi": rounded(self.share.high),
            "significant_own_site": sum(bool(d.favors_own_site) for d in shown),
            "significant_other": sum(not d.favors_own_site for d in shown),
            "advantage": None if mean is None else {"places": self.num_tested, **paired_json(mean)},
        }

    def sentences(self, *, margin: float) -> list[str]:
        """Return it in words, no more than the tests support."""
        found = []
        if (mean := self.advantage) is not None:
            claim = claim_of(
                mean.verdict, "the model of the test set's own site", "the other", margin=margin
            )
            found.append(
                f"On average over {self.num_tested} places, {claim}; difference of AUROC "
                f"{number(mean.value, signed=True)} "
                f"({span(mean.interval.low, mean.interval.high, signed=True)}), p {p_text(mean.p)}."
            )
        count, share = sum(bool(d.favors_own_site) for d in self.deltas), self.share
        sure = "no interval, for all of them share patients"
        if share.low is not None and share.high is not None:
            sure = f"{100 * share.low:.0f} to {100 * share.high:.0f} %"
            if share.num_groups < len(self.deltas):
                sure += f" with {share.num_groups} groups of them that share no patient"
        found.append(
            f"The model of the test set's own site has the higher AUROC in {count} of "
            f"{len(self.deltas)} places ({100 * share.value:.0f} %; {sure})."
        )
        return found


def compare_places(scores: Sequence[CellScore], *, margin: float, alpha: float) -> list[Delta]:
    """Compare the two models in every place where both are.

    Raises:
        EvaluateError: Two files of one place are not about the same images, or are the same.
    """
    first = scores[0].cell.model
    others = {s.cell.place: s for s in scores if s.cell.model != first}
    found = []
    for item in scores:
        other = others.get(item.cell.place)
        if item.cell.model != first or other is None:
            continue
        compared = compare_metrics(
            item.predictions,
            align(item.predictions, other.predictions),
            margin=margin,
            alpha=alpha,
        )[METRIC]
        found.append((item, other.cell, compared))
    adjusted = adjust([compared.test.p for _, _, compared in found], holm)
    return [
        Delta(item.cell, compared, p, _own_site(item.cell, other), item.patients())
        for (item, other, compared), p in zip(found, adjusted, strict=True)
    ]


def _own_site(a: Cell, b: Cell) -> int:
    if a.is_aligned is None or b.is_aligned is None:
        return 0
    return int(a.is_aligned) - int(b.is_aligned)


def judge_own_site(deltas: Sequence[Delta], *, margin: float, alpha: float) -> OwnSite | None:
    """Judge what the model of the test set's own site gains; None where sites are not told.

    Args:
        deltas: All places.
        margin: Largest difference that does not matter.
        alpha: 1 - coverage, and level of the test.
    """
    known = [d for d in deltas if d.own_site]
    if not known:
        return None
    holds = np.array([d.favors_own_site for d in known])
    share = clustered_share(holds, _groups([d.patients for d in known]), alpha=alpha)
    tested = [d for d in known if d.comparison.test.p is not None]
    if not tested:
        return OwnSite(known, share, None, 0)
    advantage = judge_mean(
        [(d.comparison, d.own_site, d.patients) for d in tested], margin=margin, alpha=alpha
    )
    return OwnSite(known, share, advantage, len(tested))


def _groups(patients: Sequence[NDArray]) -> NDArray:
    """Return [N] codes of groups of test sets, such that no two groups share a patient."""
    codes = np.unique(np.concatenate(patients), return_inverse=True)[1]
    places = np.repeat(np.arange(len(patients)), [len(names) for names in patients])
    belongs = coo_array((np.ones(len(codes)), (places, codes))).tocsr()
    return connected_components(belongs @ belongs.T, directed=False)[1]


def delta_table(deltas: Sequence[Delta], models: Sequence[str], alpha: float) -> Table:
    """Return the table of all places."""
    rows = [
        [
            d.cell.task or "-",
            d.cell.train,
            d.cell.test,
            number(d.comparison.test.value, signed=True),
            span(d.comparison.test.interval.low, d.comparison.test.interval.high, signed=True),
            p_text(d.p_holm),
            adjusted_verdict(d.comparison.test.verdict, d.p_holm, alpha=alpha),
            {True: "yes", False: "no", None: "-"}[d.favors_own_site],
        ]
        for d in deltas
    ]
    headings = ("task", "adapted on", "tested on", "difference", "interval", "p (Holm)", "verdict",
                "own site better")  # fmt: skip
    return Table("deltas", f"{models[0]} minus {models[1]}", headings, rows)
