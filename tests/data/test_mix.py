import numpy as np
import pytest

from retfm_dist.data.mix import interleave, share_out


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (10, [1], [10]),
        (10, [1, 1, 1], [4, 3, 3]),
        (7, [0.5, 0.25, 0.25], [3, 2, 2]),
        (100, [0.1, 0.2, 0.7], [10, 20, 70]),
        (1, [1, 1000], [0, 1]),
        (10**9, [904_170, 904_170], [5 * 10**8, 5 * 10**8]),
    ],
)
def test_shares_follow_the_weights_and_add_up(total, weights, expected):
    assert share_out(total, weights) == expected


@pytest.mark.parametrize("counts", [[5], [3, 7], [1, 0, 4], [0, 3], [100, 1, 37, 12], [1, 1, 1]])
def test_every_occurrence_is_counted_once_and_in_order(counts):
    numbers, before = interleave(np.arange(sum(counts)), counts)
    assert np.bincount(numbers, minlength=len(counts)).tolist() == counts
    for number, count in enumerate(counts):
        assert before[numbers == number].tolist() == list(range(count))


def test_any_stretch_holds_each_set_in_proportion():
    counts = [500, 300, 150, 50]
    numbers, _ = interleave(np.arange(1000), counts)
    for length in (10, 64, 100):
        for begin in range(0, 1000 - length, 7):
            found = np.bincount(numbers[begin : begin + length], minlength=4)
            assert np.abs(found - np.array(counts) * length / 1000).max() <= 2


def test_places_far_out_are_computed_alone():
    counts = [6 * 10**8, 3 * 10**8, 10**8]
    places = np.array([0, 123_456_789, 10**9 - 1])
    numbers, before = interleave(places, counts)
    assert (before >= 0).all()
    assert (before < np.array(counts)[numbers]).all()
    together = interleave(np.arange(10**6), [600_000, 300_000, 100_000])
    alone = interleave(np.array([777_777]), [600_000, 300_000, 100_000])
    assert (together[0][777_777], together[1][777_777]) == (alone[0][0], alone[1][0])
