"""`evaluate transfer`: two models, adapted on some data sets and tested on others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.measure import rounded, score
from retfm_dist.evaluate.judge.output import Judgement, check_output, write_judgement
from retfm_dist.evaluate.judge.splits import separate
from retfm_dist.evaluate.judge.tables import Table, number, span
from retfm_dist.evaluate.judge.transfer_cells import METRIC, Cell, CellScore, read_cells
from retfm_dist.evaluate.judge.transfer_places import (
    Delta,
    OwnSite,
    compare_places,
    delta_table,
    judge_own_site,
)
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.statistics.intervals import Interval, make_interval
from retfm_dist.statistics.paired import adjusted_verdict

_CALIBRATION = ("calibration_slope", "calibration_intercept", "ece_debiased", "brier")


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
    deltas = compare_places(scores, margin=margin, alpha=alpha)
    own_site = judge_own_site(deltas, margin=margin, alpha=alpha)
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
                "favors_own_site": d.favors_own_site,
                "comparison": d.comparison.as_json(),
            }
            for d in deltas
        ],
        "own_site": None if own_site is None else own_site.as_json(alpha=alpha),
    }
    models = list(dict.fromkeys(item.cell.model for item in scores))
    judgement = Judgement(
        "transfer",
        title=f"Transfer of {models[0]} and {models[1]}",
        sentences=_sentences(drops, deltas, own_site, models, margin=margin, alpha=alpha),
        numbers=numbers,
        tables=[
            *(_matrix(scores, model) for model in models),
            delta_table(deltas, models, alpha),
            _drop_table(drops),
            _calibration_table(scores),
        ],
    )
    return write_judgement(out_dir, judgement)


def _score(cell: Cell, alpha: float) -> CellScore:
    judged = separate(read_predictions(cell.path))
    scored = score(judged.predictions, alpha=alpha, thresholds=judged.thresholds)
    if METRIC not in scored:
        raise EvaluateError(
            "transfer needs classes",
            where=cell.path,
            got="predicted numbers",
            expected="columns p_0, p_1 and so on",
        )
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
    own_site: OwnSite | None,
    models: Sequence[str],
    *,
    margin: float,
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
    if not deltas:
        return [*sentences, "No test set was judged under both models after the same adaptation."]
    verdicts = [adjusted_verdict(d.comparison.test.verdict, d.p_holm, alpha=alpha) for d in deltas]
    sentences.append(
        f"In {verdicts.count('superior')} of {len(deltas)} places {models[0]} is better, in "
        f"{verdicts.count('inferior')} {models[1]}; in {verdicts.count('equivalent')} the two are "
        f"equivalent, in the others nothing is shown."
    )
    return sentences + ([] if own_site is None else own_site.sentences(margin=margin))


def _matrix(scores: Sequence[CellScore], model: str) -> Table:
    own = [item for item in scores if item.cell.model == model]
    tests = list(dict.fromkeys(item.cell.test for item in own))
    rows = []
    for task, train in dict.fromkeys((item.cell.task, item.cell.train) for item in own):
        row = [task or "-", train]
        for test in tests:
            found = [
                item.scored[METRIC]
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
