"""`evaluate transfer`: two models, adapted on some data sets and tested on others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from retfm_dist.evaluate.judge.compare import Comparison, align, compare_metrics
from retfm_dist.evaluate.judge.measure import Scored, rounded, score
from retfm_dist.evaluate.judge.output import check_output, write_judgement
from retfm_dist.evaluate.judge.splits import separate
from retfm_dist.evaluate.judge.tables import Table, number, p_text, span
from retfm_dist.evaluate.judge.transfer_cells import Cell, read_cells
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.statistics.intervals import Interval, make_interval
from retfm_dist.statistics.multiplicity import holm
from retfm_dist.statistics.paired import adjusted_verdict

_METRIC = "auroc"
_CALIBRATION = ("calibration_slope", "calibration_intercept", "ece_debiased", "brier")


@dataclass(frozen=True)
class CellScore:
    """A cell of a transfer matrix.

    Attributes:
        cell: Which.
        predictions: Its test images.
        scored: Their metrics.
    """

    cell: Cell
    predictions: Predictions
    scored: Mapping[str, Scored]

    @property
    def auroc(self) -> Scored:
        """The metric of the matrix."""
        return self.scored[_METRIC]


@dataclass(frozen=True)
class Drop:
    """What a model loses on another data set.

    Attributes:
        cell: The external cell.
        value: AUROC on the data set it was adapted on, less that on the other.
        interval: Its interval, or why there is none.
    """

    cell: Cell
    value: float
    interval: Interval


@dataclass(frozen=True)
class Delta:
    """The two models in one place of the matrix.

    Attributes:
        cell: Of the first model.
        comparison: First minus second.
        p_holm: Adjusted for all places; None without a test.
        favors_aligned: Whether the model of the test set's own site has the higher value; None
            where sites are not told, both models are of it, or neither.
    """

    cell: Cell
    comparison: Comparison
    p_holm: float | None
    favors_aligned: bool | None


def judge_transfer(cells_path: Path, out_dir: Path, *, margin: float, alpha: float) -> Path:
    """Judge a transfer study.

    Args:
        cells_path: Table of prediction files; see `transfer_cells`.
        out_dir: Where to; an earlier judgement there is replaced.
        margin: Largest difference between the models that does not matter.
        alpha: 1 - coverage, and level of the tests.

    Returns:
        Path of report.html.

    Raises:
        EvaluateError: A file is faulty, or two files of one place are not about the same images.
    """
    check_output(out_dir)
    scores = [_score(cell, alpha) for cell in read_cells(cells_path)]
    drops = _drops(scores, alpha)
    deltas = _deltas(scores, margin=margin, alpha=alpha)
    share = aligned_share(deltas, alpha)
    numbers = {
        "cells": [_cell_json(item) for item in scores],
        "drops": [
            {
                **_place(d.cell),
                "value": rounded(d.value),
                "lo": rounded(d.interval.low),
                "hi": rounded(d.interval.high),
                "note": d.interval.note,
            }
            for d in drops
        ],
        "deltas": [
            {
                **_place(d.cell),
                "p_holm": rounded(d.p_holm),
                "favors_aligned": d.favors_aligned,
                "comparison": d.comparison.as_json(),
            }
            for d in deltas
        ],
        "aligned_share": share,
    }
    models = list(dict.fromkeys(item.cell.model for item in scores))
    return write_judgement(
        out_dir,
        "transfer",
        title=f"Transfer of {models[0]} and {models[1]}",
        sentences=_sentences(drops, deltas, share, models, alpha),
        numbers=numbers,
        tables=[
            *(_matrix(scores, model) for model in models),
            _delta_table(deltas, models, alpha),
            _drop_table(drops),
            _calibration_table(scores),
        ],
    )


def _score(cell: Cell, alpha: float) -> CellScore:
    judged = separate(read_predictions(cell.path))
    scored = score(judged.predictions, alpha=alpha, thresholds=judged.thresholds)
    return CellScore(cell, judged.predictions, scored)


def _drops(scores: Sequence[CellScore], alpha: float) -> list[Drop]:
    """Return the loss of every external cell whose internal one is there.

    The two test sets are taken as sharing no patient.
    """
    internal = {(s.cell.task, s.cell.model, s.cell.train): s for s in scores if s.cell.is_internal}
    drops = []
    for item in scores:
        base = internal.get((item.cell.task, item.cell.model, item.cell.train))
        if item.cell.is_internal or base is None:
            continue
        value = base.auroc.value - item.auroc.value
        interval = _without_interval(base, item) or make_interval(
            value,
            (base.auroc.variance or 0.0) + (item.auroc.variance or 0.0),
            scale="plain",
            num_patients=min(base.auroc.rarest, item.auroc.rarest),
            alpha=alpha,
            reference=max(
                (part.auroc.reference for part in (base, item) if part.auroc.reference),
                key=lambda reference: reference.quantile(1 - alpha / 2),
            ),
        )
        drops.append(Drop(item.cell, value, interval))
    return drops


def _without_interval(*parts: CellScore) -> Interval | None:
    """Return the first missing interval, with its reason; None where all are there."""
    intervals = (part.auroc.interval for part in parts)
    return next((interval for interval in intervals if interval.low is None), None)


def _deltas(scores: Sequence[CellScore], *, margin: float, alpha: float) -> list[Delta]:
    first = scores[0].cell.model
    others = {(s.cell.task, s.cell.train, s.cell.test): s for s in scores if s.cell.model != first}
    found = []
    for item in scores:
        other = others.get((item.cell.task, item.cell.train, item.cell.test))
        if item.cell.model != first or other is None:
            continue
        compared = compare_metrics(
            item.predictions,
            align(item.predictions, other.predictions),
            margin=margin,
            alpha=alpha,
        )[_METRIC]
        found.append((item.cell, compared, _favors_aligned(item.cell, other.cell, compared)))
    tested = [compared.test.p for _, compared, _ in found]
    adjusted = iter(holm(np.array([p for p in tested if p is not None])).tolist())
    return [
        Delta(cell, compared, None if compared.test.p is None else next(adjusted), favors)
        for cell, compared, favors in found
    ]


def _favors_aligned(a: Cell, b: Cell, compared: Comparison) -> bool | None:
    if a.is_aligned is None or b.is_aligned is None or a.is_aligned == b.is_aligned:
        return None
    return (compared.test.value > 0) == a.is_aligned


def aligned_share(deltas: Sequence[Delta], alpha: float) -> dict[str, Any] | None:
    """Return in what share of the places the model of the test set's own site is better.

    Source: interval by Clopper and Pearson 1934, doi 10.1093/biomet/26.4.404; it takes the places
        as independent, which test sets that share patients are not.
    """
    known = [d for d in deltas if d.favors_aligned is not None]
    if not known:
        return None
    count = sum(bool(d.favors_aligned) for d in known)
    test = stats.binomtest(count, len(known))
    interval = test.proportion_ci(1 - alpha, method="exact")
    significant = [d for d in known if d.p_holm is not None and d.p_holm <= alpha]
    return {
        "places": len(known),
        "aligned_better": count,
        "share": rounded(count / len(known)),
        "lo": rounded(float(interval.low)),
        "hi": rounded(float(interval.high)),
        "p": rounded(float(test.pvalue)),
        "significant_aligned": sum(bool(d.favors_aligned) for d in significant),
        "significant_other": sum(not d.favors_aligned for d in significant),
    }


def _place(cell: Cell) -> dict[str, Any]:
    return {"task": cell.task, "model": cell.model, "train": cell.train, "test": cell.test}


def _cell_json(item: CellScore) -> dict[str, Any]:
    metrics = {
        name: {
            "value": rounded(s.value),
            "lo": rounded(s.interval.low),
            "hi": rounded(s.interval.high),
        }
        for name, s in item.scored.items()
    }
    return {**_place(item.cell), "is_internal": item.cell.is_internal, "metrics": metrics}


def _sentences(
    drops: Sequence[Drop],
    deltas: Sequence[Delta],
    share: Mapping[str, Any] | None,
    models: Sequence[str],
    alpha: float,
) -> list[str]:
    sentences = []
    for model in models:
        own = [drop.value for drop in drops if drop.cell.model == model]
        if own:
            sentences.append(
                f"{model}: on other data sets than it was adapted on, the AUROC changes by "
                f"{number(-float(np.mean(own)), signed=True)} on average over {len(own)} pairs."
            )
    verdicts = [adjusted_verdict(d.comparison.test.verdict, d.p_holm, alpha=alpha) for d in deltas]
    sentences.append(
        f"In {verdicts.count('superior')} of {len(deltas)} places {models[0]} is better, in "
        f"{verdicts.count('inferior')} {models[1]}; in {verdicts.count('equivalent')} the two are "
        f"equivalent, in the others nothing is shown."
    )
    if share is not None:
        sentences.append(
            f"The model of the test set's own site has the higher AUROC in "
            f"{share['aligned_better']} of {share['places']} places "
            f"({100 * share['share']:.0f} %, {100 * share['lo']:.0f} to {100 * share['hi']:.0f} %)."
        )
    return sentences


def _matrix(scores: Sequence[CellScore], model: str) -> Table:
    own = [item for item in scores if item.cell.model == model]
    tests = list(dict.fromkeys(item.cell.test for item in own))
    rows = []
    for task, train in dict.fromkeys((item.cell.task, item.cell.train) for item in own):
        row = [task or "-", train]
        for test in tests:
            found = [
                item.scored[_METRIC]
                for item in own
                if (item.cell.task, item.cell.train, item.cell.test) == (task, train, test)
            ]
            row.append(
                f"{number(found[0].value)} ({span(found[0].interval.low, found[0].interval.high)})"
                if found
                else "-"
            )
        rows.append(row)
    return Table(
        f"matrix_{model}",
        f"{model}: AUROC by adaptation set (rows) and test set (columns)",
        ("task", "adapted on", *tests),
        rows,
    )


def _delta_table(deltas: Sequence[Delta], models: Sequence[str], alpha: float) -> Table:
    rows = [
        [
            d.cell.task or "-",
            d.cell.train,
            d.cell.test,
            number(d.comparison.test.value, signed=True),
            span(d.comparison.test.interval.low, d.comparison.test.interval.high, signed=True),
            p_text(d.p_holm),
            adjusted_verdict(d.comparison.test.verdict, d.p_holm, alpha=alpha),
            {True: "yes", False: "no", None: "-"}[d.favors_aligned],
        ]
        for d in deltas
    ]
    headings = ("task", "adapted on", "tested on", "difference", "interval", "p (Holm)", "verdict",
                "own site better")  # fmt: skip
    return Table("deltas", f"{models[0]} minus {models[1]}", headings, rows)


def _drop_table(drops: Sequence[Drop]) -> Table:
    rows = [
        [
            d.cell.model,
            d.cell.task or "-",
            d.cell.train,
            d.cell.test,
            number(d.value, signed=True),
            span(d.interval.low, d.interval.high, signed=True),
        ]
        for d in drops
    ]
    return Table(
        "drops",
        "Loss on other data sets: internal minus external AUROC",
        ("model", "task", "adapted on", "tested on", "loss", "interval"),
        rows,
        "Variances add up: this takes the two data sets as sharing no patient.",
    )


def _calibration_table(scores: Sequence[CellScore]) -> Table:
    rows = [
        [
            s.cell.model,
            s.cell.task or "-",
            s.cell.train,
            s.cell.test,
            *(number(s.scored[name].value) if name in s.scored else "-" for name in _CALIBRATION),
        ]
        for s in scores
    ]
    headings = ("model", "task", "adapted on", "tested on", "slope", "intercept", "ECE", "Brier")
    return Table("calibration", "Calibration, also after the shift", headings, rows)
