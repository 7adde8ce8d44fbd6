import numpy as np
import pytest

from retfm_dist.data.lanes import LaneOrder, Shuffle


def every_place(order, lanes, epoch=0):
    """All places of all lanes in one pass: positions [lanes, length]."""
    length = order.lane_length
    numbers = np.repeat(np.arange(lanes), length)
    positions, repeats = order.positions(epoch, numbers, np.tile(np.arange(length), lanes))
    assert not repeats.any()
    return positions.reshape(lanes, length)


STARTS = np.array([0, 7, 7, 30, 64, 65, 101])


@pytest.mark.parametrize(
    ("lanes", "window"), [(1, None), (1, 8), (4, None), (4, 8), (5, 3), (20, 2)]
)
def test_a_pass_takes_no_sample_twice_and_leaves_out_less_than_a_lane_each(lanes, window):
    order = LaneOrder(STARTS, number=0, shuffle=Shuffle(3, lanes, window))
    positions = every_place(order, lanes)
    assert len(np.unique(positions)) == positions.size == 101 // lanes * lanes
    assert positions.min() >= 0
    assert positions.max() <= 100


def test_a_window_holds_what_lies_end_to_end_in_the_sequence_of_tars():
    order = LaneOrder(STARTS, number=0, shuffle=Shuffle(3, 2, 10))
    begins, first = order._tars_end_to_end(0, 0)
    counts = np.diff(np.append(begins, 101))
    sequence = np.concatenate([np.arange(f, f + c) for f, c in zip(first, counts, strict=True)])
    assert sorted(sequence.tolist()) == list(range(101))
    positions = every_place(order, 2)
    for lane, start in ((0, 0), (1, 50)):
        for window in range(5):
            here = slice(10 * window, 10 * window + 10)
            there = sequence[start:][here]
            assert sorted(positions[lane, here].tolist()) == sorted(there.tolist())
            assert positions[lane, here].tolist() != there.tolist()


def test_passes_epochs_sets_and_seeds_have_their_own_order():
    indices = np.arange(50)
    lanes = np.zeros(50, dtype=np.int64)
    seen = set()
    for seed in (0, 1):
        for number in (0, 1):
            order = LaneOrder(STARTS, number=number, shuffle=Shuffle(seed, 2, 10))
            for epoch in (0, 1):
                for begin in (0, 50):
                    positions, repeats = order.positions(epoch, lanes, indices + begin)
                    assert set(repeats.tolist()) == {begin // 50}
                    seen.add(tuple(positions.tolist()))
    assert len(seen) == 16


def test_places_of_several_passes_may_be_asked_for_at_once():
    order = LaneOrder(STARTS, number=2, shuffle=Shuffle(1, 2, 10))
    indices, lanes = np.array([3, 60, 49, 120]), np.array([0, 1, 1, 0])
    together, repeats = order.positions(4, lanes, indices)
    assert repeats.tolist() == [0, 1, 0, 2]
    for i in range(4):
        alone, _ = order.positions(4, lanes[i : i + 1], indices[i : i + 1])
        assert alone[0] == together[i]


def test_the_order_in_lanes_is_pinned():
    order = LaneOrder(np.arange(0, 1001, 50), number=0, shuffle=Shuffle(2026, 4, 100))
    positions, _ = order.positions(2, np.array([0, 1, 2, 3]), np.array([0, 10, 110, 249]))
    assert positions.tolist() == [935, 505, 382, 415]
