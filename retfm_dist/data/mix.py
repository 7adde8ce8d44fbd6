"""Shares of several shard sets in an epoch, and the place of each in it: exact and even.

Shares are counts, not probabilities: no batch is drawn by chance, so that any stretch of the order
holds each set in proportion, to within one sample per set.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def share_out(total: int, weights: Sequence[float]) -> list[int]:
    """Share a number of samples out by weights, with the largest remainders rounded up.

    Args:
        total: Samples to share out.
        weights: Positive weights; only their ratios count.

    Returns:
        One count per weight; they add up to `total`. Of equal remainders the first is rounded up.
    """
    # Exact fractions: the shares are part of the order, and must not hang on rounding.
    parts = [Fraction(weight) for weight in weights]
    exact = [total * part / sum(parts) for part in parts]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def interleave(
    indices: NDArray[np.int64], counts: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which set stands at places of a sequence, and how many of it stand before.

    The first set is spread evenly over the sequence, the second over what it leaves free, and so
    on.

    Args:
        indices: int64 [N] in [0, sum(counts)).
        counts: How often each set occurs.

    Returns:
        int64 [N] numbers of sets, int64 [N] occurrences of the same set before.
    """
    numbers, before = np.zeros_like(indices), indices.copy()
    waiting = np.arange(len(indices))
    for number, count in enumerate(counts[:-1]):
        length = sum(counts[number:])
        if not waiting.size or not length:
            break
        places = before[waiting]
        of_this = places * count // length
        is_here = (places + 1) * count // length > of_this
        here, waiting = waiting[is_here], waiting[~is_here]
        numbers[here], before[here] = number, of_this[is_here]
        before[waiting] -= of_this[~is_here]
        numbers[waiting] = number + 1
    return numbers, before
