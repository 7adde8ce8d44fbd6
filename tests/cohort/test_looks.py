import numpy as np
import pytest

from retfm_dist.cohort.looks import MAX_DISTANCE, find_alike, hash_words


def flipped(rng, words, num_bits):
    bits = np.unpackbits(words.view(np.uint8))
    bits[rng.choice(256, num_bits, replace=False)] ^= 1
    return np.packbits(bits).view(np.uint64)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_those_of_a_comparison_of_all_with_all(seed):
    rng = np.random.default_rng(seed)
    ours = hash_words([rng.bytes(32).hex() for _ in range(60)])
    theirs = np.array([flipped(rng, row, rng.integers(0, 16)) for row in ours[:40]])
    ours[50] = ours[3]
    distances = np.bitwise_count(ours[:, None] ^ theirs[None]).sum(axis=2)
    expected = np.argwhere(distances <= MAX_DISTANCE)
    assert np.array_equal(find_alike(ours, theirs), expected)
    assert 5 < len(expected) < 40


def test_nothing_is_like_nothing():
    empty = hash_words([])
    assert empty.shape == (0, 4)
    assert find_alike(empty, empty).shape == (0, 2)
