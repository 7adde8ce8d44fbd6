"""How far an effect of one patient on another's score is returned.

In a cross-validation patient i is judged by a fit that patient j helped to make, and the other way
round. What i does to j's score and what j does to i's are the same for a linear model: both are the
product of their features. A vote of neighbors is one-sided: j may be among the neighbors of i while
i is not among those of j. `statistics.estimate` needs to know how far the two go together.
"""

import numpy as np
from numpy.typing import NDArray

from retfm_dist.statistics.clusters import FloatArray


def reciprocity(judged: NDArray, trained: NDArray, weights: FloatArray) -> float:
    """Return sum w_ij w_ji / sum w_ij^2 over pairs of patients, in [0, 1]; 1 without any weight.

    Args:
        judged: [E] code >= 0 of the patient whose score is changed.
        trained: [E] code >= 0 of the patient who changes it; pairs may occur more than once.
        weights: [E] by how much, >= 0.

    Source: Garlaschelli and Loffredo 2004, doi 10.1103/PhysRevLett.93.268701 (correlation of the
    links of a network with their reverse), here of weights and about 0.
    """
    if not np.any(weights):
        return 1.0
    size = int(max(judged.max(), trained.max())) + 1
    pairs, place = np.unique(judged.astype(np.int64) * size + trained, return_inverse=True)
    sums = np.bincount(place, weights)
    reverse = pairs % size * size + pairs // size
    found = np.minimum(np.searchsorted(pairs, reverse), len(pairs) - 1)
    returned = np.where(pairs[found] == reverse, sums[found], 0.0)
    return min(float((sums * returned).sum() / (sums**2).sum()), 1.0)  # rounded
