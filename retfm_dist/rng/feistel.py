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

    Args:
        positions: int64 [N], each in [0, size); repeats allowed.
        size: Number of elements permuted, n >= 1; below 2**63.
        key: uint32 [2] that selects the permutation.

    Returns:
        int64 [N] in [0, size).
    """
    assert size >= 1, f"size is {size}"
    sizes = np.full(positions.shape, size, dtype=np.int64)
    return permute_each(positions, sizes, np.zeros_like(sizes), key)


def permute_each(
    positions: NDArray[np.int64],
    sizes: NDArray[np.int64],
    numbers: NDArray[np.int64],
    key: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Map each position through a permutation of its own.

    A Feistel network permutes a rectangle of rows * columns >= size numbers; a result outside
    [0, size) is mapped again until it falls inside ("cycle walking"), which keeps the map a
    bijection. The rectangle is at most one row too large, so walking is rare.

    Args:
        positions: int64 [N], each in [0, size); repeats allowed.
        sizes: int64 [N], number of elements of the permutation that each goes through.
        numbers: int64 [N] in [0, 2**32), which of the key's permutations that is.
        key: uint32 [2] that selects the permutations.

    Returns:
        int64 [N], each in [0, size).

    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", CT-RSA,
        section 4 (cycle walking) and section 5 (Feistel on unequal halves).
    """
    inside = (positions >= 0) & (positions < sizes)
    assert inside.all(), f"positions must lie in [0, {sizes[~inside][0]})"
    columns = _ceil_sqrt(sizes)
    rows = -(-sizes // columns)
    images = _rectangle_permute(positions, rows, columns, numbers, key)
    outside = np.flatnonzero(images >= sizes)
    while outside.size:
        images[outside] = _rectangle_permute(
            images[outside], rows[outside], columns[outside], numbers[outside], key
        )
        outside = outside[images[outside] >= sizes[outside]]
    return images


def _ceil_sqrt(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return isqrt(size - 1) + 1 for each size, exactly; few of them differ."""
    different, where = np.unique(sizes, return_inverse=True)
    roots = [math.isqrt(size - 1) + 1 for size in different.tolist()]
    return np.array(roots, dtype=np.int64)[where]


def _rectangle_permute(
    positions: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    numbers: NDArray[np.int64],
    key: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Permute [0, rows * columns) by Feistel rounds that add modulo the half's own size."""
    left, right = np.divmod(positions, columns)
    left_size, right_size = rows, columns
    for round_number in range(_NUM_ROUNDS):
        words = philox4x32(_round_counters(right, round_number, numbers), key)
        added = (words[:, 0].astype(np.int64) << 31) ^ words[:, 1]
        left, right = right, (left + added % left_size) % left_size
        left_size, right_size = right_size, left_size
    return left * columns + right


def _round_counters(
    half: NDArray[np.int64], round_number: int, numbers: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Return uint32 [N, 4] counters: the half's low and high word, the round, the permutation."""
    counters = np.empty((half.size, 4), dtype=np.uint32)
    counters[:, 0] = half & WORD_MASK
    counters[:, 1] = half >> 32
    counters[:, 2] = round_number
    counters[:, 3] = numbers
    return counters
