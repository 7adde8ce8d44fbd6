"""Keyed permutations of [0, n), evaluated at single positions.

A shuffled order of 10**8 samples costs no memory and no start-up: the sample at a position is
computed when it is needed, on any rank.
"""

import math

import numpy as np
from numpy.typing import NDArray

from retfm_dist.rng.philox import WORD_MASK, philox4x32

# Even, so that both halves return to their places. Four rounds shuffle large domains well; eight
# make small ones uniform too, as the tests measure.
_NUM_ROUNDS = 8


def permute(positions: NDArray[np.int64], size: int, key: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Map positions through the permutation of [0, size) that `key` selects.

    A Feistel network permutes a rectangle of rows * columns >= size numbers; a result outside
    [0, size) is mapped again until it falls inside ("cycle walking"), which keeps the map a
    bijection. The rectangle is at most one row too large, so walking is rare.

    Args:
        positions: int64 [N], each in [0, size); repeats allowed.
        size: Number of elements permuted, n >= 1; below 2**63.
        key: uint32 [2] that selects the permutation.

    Returns:
        int64 [N] in [0, size).

    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", CT-RSA,
        section 4 (cycle walking) and section 5 (Feistel on unequal halves).
    """
    assert size >= 1, f"size is {size}"
    assert positions.size == 0 or (positions.min() >= 0 and positions.max() < size), (
        f"positions must lie in [0, {size})"
    )
    columns = math.isqrt(size - 1) + 1
    rows = -(-size // columns)
    images = _rectangle_permute(positions, rows, columns, key)
    outside = np.flatnonzero(images >= size)
    while outside.size:
        images[outside] = _rectangle_permute(images[outside], rows, columns, key)
        outside = outside[images[outside] >= size]
    return images


def _rectangle_permute(
    positions: NDArray[np.int64], rows: int, columns: int, key: NDArray[np.uint32]
) -> NDArray[np.int64]:
    """Permute [0, rows * columns) by Feistel rounds that add modulo the half's own size."""
    left, right = np.divmod(positions, columns)
    left_size, right_size = rows, columns
    for number in range(_NUM_ROUNDS):
        words = philox4x32(_round_counters(right, number), key)
        added = (words[:, 0].astype(np.int64) << 31) ^ words[:, 1]
        left, right = right, (left + added % left_size) % left_size
        left_size, right_size = right_size, left_size
    return left * columns + right


def _round_counters(half: NDArray[np.int64], number: int) -> NDArray[np.uint32]:
    """Return uint32 [N, 4] counters: the half's low and high word, the round, zero."""
    counters = np.zeros((half.size, 4), dtype=np.uint32)
    counters[:, 0] = half & WORD_MASK
    counters[:, 1] = half >> 32
    counters[:, 2] = number
    return counters
