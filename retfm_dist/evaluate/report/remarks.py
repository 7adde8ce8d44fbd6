"""What a reader has to know before trusting a number."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from retfm_dist.evaluate.report.compute import Result

_FEW_PATIENTS = 50
"""Patients of the rarest class below which an interval of an AUROC is wider than 0.15."""
_POOLED_GAP = 0.03
_JUMP = 100.0
"""Factor between the smallest and the largest chosen C that counts as jumping."""


def remarks_of(result: Result) -> list[str]:
    """Return the remarks on one result, most serious first."""
    scored, area = result.scored[result.primary], result.scored["auroc"]
    remarks = [scored.interval.note] if scored.interval.note else []
    if area.interval.high is not None and area.interval.high < 0.5:
        remarks.append(
            "the whole interval of the AUROC lies below 0.5: is the label the wrong way round?"
        )
    rarest = _rarest(result)
    if rarest < _FEW_PATIENTS:
        remarks.append(f"few patients: {rarest} of the rarer class")
    if abs(result.pooled - area.value) > _POOLED_GAP:
        remarks.append(
            f"pooled over folds the AUROC is {result.pooled:.2f}: the fits are not on one scale"
        )
    return remarks + _fit_remarks(result.predictions.fits)


def _rarest(result: Result) -> int:
    item = result.predictions
    return min(
        len(np.unique(item.subject_ids[item.labels == label])) for label in np.unique(item.labels)
    )


def _fit_remarks(fits: Sequence[Mapping[str, object]]) -> list[str]:
    remarks = []
    chosen = [float(str(fit["c"])) for fit in fits if "c" in fit]
    at_edge = sum(bool(fit.get("c_at_grid_edge")) for fit in fits)
    if at_edge:
        remarks.append(f"C at the edge of the grid in {at_edge} of {len(fits)} fits")
    if chosen and max(chosen) / min(chosen) >= _JUMP:
        remarks.append(f"the chosen C jumps from {min(chosen):g} to {max(chosen):g} between fits")
    if not all(fit.get("converged", True) for fit in fits):
        remarks.append("a fit did not converge")
    return remarks


def group_remarks(
    results: Sequence[Result], tasks: Mapping[str, str], protocols: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return each remark with the tasks it is on, and the results where it is not on all of them.

    Args:
        results: All of the report.
        tasks: Titles by id.
        protocols: Likewise.
    """
    sizes = Counter(task for _, task, _ in (result.key for result in results))
    found: dict[str, dict[str, list[str]]] = {}
    for result in results:
        model, task, protocol = result.key
        for remark in remarks_of(result):
            of_task = found.setdefault(remark, {}).setdefault(task, [])
            of_task.append(f"{model}, {protocols[protocol]}")
    return {
        remark: [
            tasks[task] if len(names) == sizes[task] else f"{tasks[task]} ({'; '.join(names)})"
            for task, names in of_tasks.items()
        ]
        for remark, of_tasks in found.items()
    }
