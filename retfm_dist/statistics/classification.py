"""Metrics of decisions: everything that a confusion matrix tells.

Each function takes [B, C, C] matrices (rows true, columns decided; counts or weights) and returns
[B] values, NaN where one is undefined. They equal scikit-learn's functions of the same name.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.clusters import FloatArray, patient_sums
from retfm_dist.statistics.metric import AdditiveMetric


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)


def accuracy(confusion: FloatArray) -> FloatArray:
    """Return the share of right decisions."""
    return _ratio(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def balanced_accuracy(confusion: FloatArray) -> FloatArray:
    """Return the mean sensitivity of the classes that occur."""
    recalls = _ratio(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2))
    known = ~np.isnan(recalls)
    return _ratio(np.where(known, recalls, 0.0).sum(axis=1), known.sum(axis=1).astype(float))


def f1(confusion: FloatArray) -> FloatArray:
    """Return F1 of the positive class; of more than two, the mean over those that occur.

    A class occurs when it is true or decided somewhere. Undefined F1 counts as 0.
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    involved = confusion.sum(axis=2) + confusion.sum(axis=1)
    scores = np.where(involved > 0, 2 * right / np.where(involved > 0, involved, 1.0), 0.0)
    if confusion.shape[1] == 2:
        return scores[:, 1]
    return _ratio(scores.sum(axis=1), (involved > 0).sum(axis=1).astype(float))


def mcc(confusion: FloatArray) -> FloatArray:
    """Return Matthews' correlation, 0 where truth or decisions are constant.

    Source: Gorodkin 2004, doi 10.1016/j.compbiolchem.2004.09.006 (more than two classes).
    """
    total = confusion.sum(axis=(1, 2))
    true, decided = confusion.sum(axis=2), confusion.sum(axis=1)
    covariance = np.trace(confusion, axis1=1, axis2=2) * total - (true * decided).sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (decided**2).sum(axis=1))
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)


def kappa_quadratic(confusion: FloatArray) -> FloatArray:
    """Return Cohen's kappa with weights (i - j)^2; for grades in ascending order.

    Source: Cohen 1968, doi 10.1037/h0026256.
    """
    grades = np.arange(confusion.shape[1])
    distance = (grades[:, None] - grades[None, :]) ** 2.0
    expected = confusion.sum(axis=2)[:, :, None] * confusion.sum(axis=1)[:, None, :]
    total = confusion.sum(axis=(1, 2))
    return 1 - _ratio(
        (confusion * distance).sum(axis=(1, 2)) * total, (expected * distance).sum(axis=(1, 2))
    )


def sensitivity(confusion: FloatArray) -> FloatArray:
    """Return the share of the positives that are decided positive; two classes."""
    return _ratio(confusion[:, 1, 1], confusion[:, 1].sum(axis=1))


def specificity(confusion: FloatArray) -> FloatArray:
    """Return the share of the negatives that are decided negative; two classes."""
    return _ratio(confusion[:, 0, 0], confusion[:, 0].sum(axis=1))


DECISION_METRICS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "f1": f1,
    "mcc": mcc,
    "kappa_quadratic": kappa_quadratic,
}
"""Metrics of the most probable class."""


def decision_metric(
    function: Callable[[FloatArray], FloatArray],
    labels: NDArray,
    decisions: NDArray,
    patients: NDArray,
    *,
    num_classes: int,
) -> AdditiveMetric:
    """Return a metric of decisions as a function of the patients' weights.

    Args:
        function: One of this module's.
        labels: [N] true class, 0 .. C-1.
        decisions: [N] decided class, 0 .. C-1.
        patients: [N] codes 0 .. P-1.
        num_classes: C.
    """
    cells = np.zeros((len(labels), num_classes * num_classes))
    cells[np.arange(len(labels)), labels * num_classes + decisions] = 1.0
    return AdditiveMetric(
        patient_sums(cells, patients, int(patients.max()) + 1),
        lambda totals: function(totals.reshape(-1, num_classes, num_classes)),
    )
