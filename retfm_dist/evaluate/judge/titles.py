"""Names of metrics for people; files for programs keep the short ones."""

from retfm_dist.evaluate.judge.splits import TARGETS
from retfm_dist.statistics.suite import base_name

_TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "mcc": "MCC",
    "kappa_quadratic": "quadratic kappa",
    "brier": "Brier score",
    "ece_debiased": "debiased ECE",
    "mae": "MAE",
    "r2": "R2",
}


def metric_title(name: str) -> str:
    """Return the name of a metric of `statistics.suite` for people."""
    base = base_name(name)
    title = _TITLES.get(base, base.replace("_", " "))
    rest = name[len(base) :].strip("_")
    if not rest:
        return title
    if rest.isdigit():
        return f"{title} of class {rest}"
    kind, wanted = TARGETS[rest.removeprefix("at_")]
    return f"{title} at the threshold of {100 * wanted:.0f} % {kind}"
