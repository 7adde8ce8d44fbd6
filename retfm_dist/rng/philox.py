"""Philox4x32-10 in numpy: 128 bits of counter and 64 bits of key in, 128 random bits out."""

# Written out here, rather than taken from `numpy.random`, because numpy promises no stream across
# its versions, and because the same bits are needed on GPUs (`philox_torch`).

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
NUM_ROUNDS = 10
WORD_MASK = 0xFFFFFFFF


def philox4x32(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Turn each counter into four random words.

    Args:
        counter: uint32 [N, 4], least significant word first.
        key: uint32 [2], shared by all counters.

    Returns:
        uint32 [N, 4]; for one key, distinct counters give distinct rows.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11, section 3.3;
        constants and known answers of the Random123 library.
    """
    c0, c1, c2, c3 = (counter[:, word].astype(np.uint64) for word in range(4))
    mask, half = np.uint64(WORD_MASK), np.uint64(32)
    m0, m1 = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
    for k0, k1 in round_keys(int(key[0]), int(key[1])):
        # Products of two 32-bit words fit uint64 exactly.
        p0, p1 = c0 * m0, c2 * m1
        c0, c1 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & mask
        c2, c3 = (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & mask
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def round_keys(k0: int, k1: int) -> list[tuple[int, int]]:
    """Return the ten pairs of key words, each raised by Weyl increments modulo 2**32."""
    return [
        (
            (k0 + number * KEY_INCREMENTS[0]) & WORD_MASK,
            (k1 + number * KEY_INCREMENTS[1]) & WORD_MASK,
        )
        for number in range(NUM_ROUNDS)
    ]
