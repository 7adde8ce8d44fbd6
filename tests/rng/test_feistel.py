import numpy as np
import pytest

from retfm_dist.rng.feistel import permute


def key(low: int, high: int = 1) -> np.ndarray:
    return np.array([low, high], dtype=np.uint32)


@pytest.mark.parametrize("size", [*range(1, 20), 63, 64, 65, 115, 1000, 1024, 1025, 65537])
def test_every_size_is_permuted_without_loss(size):
    for low in range(3):
        images = permute(np.arange(size), size, key(low))
        assert images.dtype == np.int64
        np.testing.assert_array_equal(np.sort(images), np.arange(size))


def test_values_are_pinned():
    assert permute(np.arange(10), 10, key(7, 11)).tolist() == [6, 0, 5, 1, 7, 2, 9, 4, 8, 3]
    assert permute(np.arange(4), 904_170, key(7, 11)).tolist() == [831047, 546064, 832723, 810077]
    assert permute(np.arange(2), 10**15 + 7, key(7, 11)).tolist() == [
        156392569398139,
        500313102586368,
    ]


def test_huge_domains_need_no_memory_and_stay_in_range():
    size = 2**62 + 12345
    positions = np.array([0, 1, size // 2, size - 1])
    images = permute(positions, size, key(1))
    assert images.min() >= 0
    assert images.max() < size
    assert len(set(images.tolist())) == 4


def test_positions_are_mapped_one_by_one():
    together = permute(np.arange(500), 904_170, key(5))
    for position in (0, 123, 499):
        assert permute(np.array([position]), 904_170, key(5))[0] == together[position]
    assert permute(np.array([3, 3]), 904_170, key(5)).tolist() == [together[3]] * 2


def test_either_word_of_the_key_changes_the_order():
    orders = {tuple(permute(np.arange(50), 50, key(a, b))) for a in (0, 1) for b in (0, 1)}
    assert len(orders) == 4


@pytest.mark.parametrize("size", [7, 12])
def test_every_pair_of_places_is_equally_likely(size):
    """The first two images over many keys: chi-square over size * (size - 1) cells."""
    num_keys = 1000
    counts = np.zeros((size, size))
    for low in range(num_keys):
        first, second = permute(np.arange(2), size, key(low))
        counts[first, second] += 1
    cells = counts[~np.eye(size, dtype=bool)]
    expected = num_keys / cells.size
    freedom = cells.size - 1
    chi_square = ((cells - expected) ** 2 / expected).sum()
    # Five standard deviations of a chi-square variable.
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


def test_neighbors_end_up_far_apart():
    size = 100_000
    images = permute(np.arange(2000), size, key(9))
    # Uniform pairs lie size / 3 apart on average, with a standard error of size * 0.24 / sqrt(2000).
    assert np.abs(np.diff(images)).mean() == pytest.approx(size / 3, rel=0.08)


@pytest.mark.parametrize("position", [-1, 10])
def test_positions_outside_are_refused(position):
    with pytest.raises(AssertionError, match=r"positions must lie in \[0, 10\)"):
        permute(np.array([position]), 10, key(0))


def test_an_empty_domain_is_refused():
    with pytest.raises(AssertionError, match="size is 0"):
        permute(np.array([], dtype=np.int64), 0, key(0))
