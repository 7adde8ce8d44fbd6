"""Philox4x32-10 in torch: the bits of `retfm_dist.rng.philox`, on any device.

Torch has no full set of uint32 operations, so words live in int64 and products are split.
"""

import torch
from torch import Tensor

from retfm_dist.rng.philox import MULTIPLIERS, WORD_MASK, round_keys


def philox4x32(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Turn each counter into four random words.

    Args:
        counter: int64 [N, 4] of words in [0, 2**32), least significant first.
        key: Two words in [0, 2**32), shared by all counters.

    Returns:
        int64 [N, 4] of words in [0, 2**32), on the device of `counter`.

    Source: as `retfm_dist.rng.philox.philox4x32`, whose bits these are.
    """
    c0, c1, c2, c3 = counter.unbind(dim=1)
    for k0, k1 in round_keys(*key):
        high0, low0 = _multiply(c0, MULTIPLIERS[0])
        high1, low1 = _multiply(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return torch.stack([c0, c1, c2, c3], dim=1)


def _multiply(words: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Return the high and low words of 64-bit products without passing 2**63 on the way."""
    # words = upper * 2**16 + lower; both partial products stay below 2**48.
    lower = (words & 0xFFFF) * multiplier
    upper = (words >> 16) * multiplier
    high = (upper + (lower >> 16)) >> 16
    low = (((upper & 0xFFFF) << 16) + lower) & WORD_MASK
    return high, low
