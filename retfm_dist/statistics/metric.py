"""A metric as a function of how much each patient counts.

Everything that is done with a metric needs only this: weights of one give its value, leaving one
patient out gives the patient's influence on it, multinomial weights give a bootstrap, zeros and
ones a subgroup.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.clusters import FloatArray

_CHUNK_VALUES = 2_000_000
"""Weights held in memory at once: 16 MB."""


class Metric(Protocol):
    """A metric of one set of predictions."""

    @property
    def num_patients(self) -> int:
        """P."""
        ...

    def values(self, weights: NDArray) -> FloatArray:
        """Return [B] the metric under each row of weights, NaN where it is undefined.

        Args:
            weights: [B, P] non-negative weight of each patient's images.
        """
        ...

    def influence(self) -> FloatArray:
        """Return [P] each patient's influence; the sum of squares estimates the variance."""
        ...


@dataclass(frozen=True)
class AdditiveMetric:
    """A metric that depends on sums over patients alone, such as a confusion matrix.

    Attributes:
        sums: [P, K] what each patient adds.
        function: [B, K] totals -> [B] values.
    """

    sums: FloatArray
    function: Callable[[FloatArray], FloatArray]

    @property
    def num_patients(self) -> int:
        """P."""
        return len(self.sums)

    def values(self, weights: NDArray) -> FloatArray:
        """Return [B] the metric under each row of weights [B, P]."""
        return self.function(np.asarray(weights, np.float64) @ self.sums)

    def influence(self) -> FloatArray:
        """Return [P] the influence of each patient, by leaving each out."""
        return jackknife_influence(self.function(self.sums.sum(axis=0) - self.sums))


@dataclass(frozen=True)
class RankMetric:
    """A metric of the order of the scores, evaluated image by image.

    Attributes:
        patients: [N] codes 0 .. P-1 of the images.
        function: [B, N] weights of the images -> [B] values.
        left_out: Returns [P] the value without each patient, where there is a shorter way to it
            than P evaluations.
    """

    patients: NDArray
    function: Callable[[NDArray], FloatArray]
    left_out: Callable[[], FloatArray] | None = None

    @property
    def num_patients(self) -> int:
        """P."""
        return int(self.patients.max()) + 1

    def values(self, weights: NDArray) -> FloatArray:
        """Return [B] the metric under each row of weights [B, P]."""
        # All rows at once would take B * N values: 1.6 GB for 100,000 images and 2,000 resamples.
        num_rows = max(1, _CHUNK_VALUES // len(self.patients))
        return np.concatenate(
            [
                self.function(weights[start : start + num_rows][:, self.patients])
                for start in range(0, len(weights), num_rows)
            ]
        )

    def influence(self) -> FloatArray:
        """Return [P] the influence of each patient, by leaving each out."""
        if self.left_out is not None:
            return jackknife_influence(self.left_out())
        num_rows = max(1, _CHUNK_VALUES // len(self.patients))
        left_out = np.empty(self.num_patients)
        for start in range(0, self.num_patients, num_rows):
            rows = np.arange(start, min(start + num_rows, self.num_patients))
            weights = (self.patients[None, :] != rows[:, None]).astype(np.float64)
            left_out[rows] = self.function(weights)
        return jackknife_influence(left_out)


def value_of(metric: Metric) -> float:
    """Return the metric of all patients; NaN where it is undefined."""
    return float(metric.values(np.ones((1, metric.num_patients)))[0])


def jackknife_influence(left_out: FloatArray) -> FloatArray:
    """Return [P] influences whose sum of squares is the jackknife's variance.

    Args:
        left_out: [P] the metric without each patient.

    Source: Efron and Stein 1981, doi 10.1214/aos/1176345462.
    """
    num_patients = len(left_out)
    return np.sqrt((num_patients - 1) / num_patients) * (left_out.mean() - left_out)
