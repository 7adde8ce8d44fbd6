"""DeLong's test of two AUROCs on the same images, as a cross-check; plain and clustered."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from retfm_dist.statistics.auroc import placements
from retfm_dist.statistics.clusters import FloatArray, patient_sums


@dataclass(frozen=True)
class DelongTest:
    """A difference of two AUROCs.

    Attributes:
        value: AUROC of a minus AUROC of b.
        variance: Its variance.
        p: Two-sided, normal approximation; 1 where both rank the images alike.
    """

    value: float
    variance: float
    p: float


def delong_test(
    labels: NDArray, scores_a: FloatArray, scores_b: FloatArray, patients: NDArray
) -> DelongTest:
    """Compare two AUROCs; images of a patient may be correlated.

    With one image per patient this is DeLong's test.

    Args:
        labels: [N] 1 = positive, 0 = negative; both occur.
        scores_a: [N].
        scores_b: [N].
        patients: [N] codes 0 .. P-1.

    Source: DeLong et al. 1988, doi 10.2307/2531595; clustered as in Obuchowski 1997, Biometrics
        53(2), 567-578.
    """
    positive = labels == 1
    difference = placements(labels, scores_a) - placements(labels, scores_b)
    value = float(difference[positive].mean())
    centered = difference - value
    num_patients = int(patients.max()) + 1
    totals = []
    for chosen in (positive, ~positive):
        sums = patient_sums(np.where(chosen, centered, 0.0), patients, num_patients)
        clusters = len(np.unique(patients[chosen]))
        totals.append(sums / chosen.sum() * np.sqrt(clusters / max(clusters - 1, 1)))
    variance = float(((totals[0] + totals[1]) ** 2).sum())
    # A patient's positive and negative images are correlated: their covariance is in the square.
    p = 2 * float(stats.norm.sf(abs(value) / np.sqrt(variance))) if variance > 0 else 1.0
    return DelongTest(value, variance, p)
