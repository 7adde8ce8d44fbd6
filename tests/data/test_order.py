import numpy as np
import pytest

from retfm_dist.data.lanes import Shuffle
from retfm_dist.data.order import SampleOrder
from retfm_dist.errors import DataError


def order_of(num_samples: int, global_batch_size: int, seed: int) -> SampleOrder:
    """One tar, shuffled whole."""
    return SampleOrder([np.array([0, num_samples])], global_batch_size, Shuffle(seed))


def tars(num_samples: int, size: int) -> np.ndarray:
    return np.append(np.arange(0, num_samples, size), num_samples)


def epoch_draws(order: SampleOrder, epoch: int):
    first = epoch * order.steps_per_epoch
    return [order.draws(first + i) for i in range(order.steps_per_epoch)]


def epoch_positions(order: SampleOrder, epoch: int) -> np.ndarray:
    return np.concatenate([draws.positions for draws in epoch_draws(order, epoch)])


@pytest.mark.parametrize(("num_samples", "batch_size"), [(37, 8), (64, 64), (1000, 7), (5, 1)])
@pytest.mark.parametrize("seed", [0, 2**62 + 1])
def test_an_epoch_takes_no_sample_twice_and_leaves_out_only_the_tail(num_samples, batch_size, seed):
    order = order_of(num_samples, batch_size, seed)
    for epoch in range(3):
        positions = epoch_positions(order, epoch)
        assert len(positions) == num_samples - num_samples % batch_size
        assert len(set(positions.tolist())) == len(positions)
        assert positions.min() >= 0
        assert positions.max() < num_samples


def test_a_large_set_is_covered_but_for_one_batch():
    order = order_of(20_011, 128, 1)
    assert len(set(epoch_positions(order, 2).tolist())) / 20_011 >= 0.99


def test_every_epoch_leaves_out_another_tail():
    order = order_of(37, 8, 3)
    tails = {frozenset(range(37)) - set(epoch_positions(order, epoch)) for epoch in range(6)}
    assert len(tails) == 6


def test_epochs_and_seeds_have_their_own_order():
    orders = {
        tuple(epoch_positions(order_of(100, 10, seed), epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_epochs_begin_every_so_many_steps():
    order = order_of(37, 8, 0)
    assert order.steps_per_epoch == 4
    assert [order.epoch_of(step) for step in (0, 3, 4, 7, 8)] == [0, 0, 1, 1, 2]


def test_positions_are_pinned():
    order = order_of(904_170, 4, 2026)
    assert order.draws(0).positions.tolist() == [218791, 882660, 591606, 259111]
    assert order.draws(order.steps_per_epoch).positions.tolist() == [248682, 292399, 512060, 270380]


def test_a_step_far_out_is_as_cheap_as_the_first():
    order = order_of(10**8, 2048, 0)
    positions = order.draws(800 * order.steps_per_epoch - 1).positions
    assert len(set(positions.tolist())) == 2048


def test_a_set_smaller_than_a_batch_is_refused():
    with pytest.raises(DataError, match=r"smaller than one global batch; got 7 samples, .* 8"):
        order_of(7, 8, 0)


def test_a_negative_step_is_refused():
    with pytest.raises(AssertionError, match="step is -1"):
        order_of(8, 8, 0).draws(-1)


@pytest.mark.parametrize(("lanes", "window"), [(1, 64), (4, 64), (8, None), (8, 37), (40, 2)])
def test_lanes_take_no_sample_twice_and_leave_out_only_tails(lanes, window):
    order = SampleOrder([tars(1003, 50)], 40, Shuffle(5, lanes, window))
    for epoch in range(2):
        positions = epoch_positions(order, epoch)
        assert len(set(positions.tolist())) == len(positions) == order.steps_per_epoch * 40
        assert 1003 - len(positions) < 40 + lanes
    seen = {position for epoch in range(6) for position in epoch_positions(order, epoch).tolist()}
    assert seen == set(range(1003))


def test_a_lane_reads_few_tars_at_a_time():
    size, window, lanes = 100, 200, 4
    order = SampleOrder([tars(10_000, size)], 8, Shuffle(1, lanes, window))
    # [steps, lanes, samples of a lane in a step]
    drawn = epoch_positions(order, 0).reshape(-1, lanes, 2)
    for lane in range(lanes):
        tars_read = drawn[:, lane] // size
        for begin in range(0, len(tars_read) - 100, 100):  # a window of 200 samples
            assert len(np.unique(tars_read[begin : begin + 100])) <= window // size + 1
    whole = epoch_positions(SampleOrder([tars(10_000, size)], 8, Shuffle(1)), 0) // size
    assert len(np.unique(whole[:200])) > 80


def test_sets_are_mixed_by_exact_shares_at_every_moment():
    sets = [tars(600, 50), tars(90, 30), tars(30, 30)]
    order = SampleOrder(sets, 24, Shuffle(2), weights=[1, 1, 2])
    draws = epoch_draws(order, 3)
    numbers = [np.searchsorted([600, 690], d.positions, side="right") for d in draws]
    for of_step in numbers:
        assert np.abs(np.bincount(of_step, minlength=3) - [6, 6, 12]).max() <= 1
    assert np.bincount(np.concatenate(numbers)).tolist() == [180, 180, 360]
    positions = np.concatenate([d.positions for d in draws])
    repeats = np.concatenate([d.repeats for d in draws])
    # The large set is taken in part, the small ones several times over, each pass complete.
    assert len(set(positions[positions < 600].tolist())) == 180
    assert np.bincount(positions[positions >= 690] - 690).tolist() == [12] * 30
    of_last = positions >= 690
    passes = {(p, r) for p, r in zip(positions[of_last], repeats[of_last], strict=True)}
    assert len(passes) == 360
    assert repeats[positions < 600].max() == 0


def test_a_mix_in_lanes_keeps_both():
    sets = [tars(900, 50), tars(300, 50)]
    order = SampleOrder(sets, 40, Shuffle(2, lanes=4, window=100), weights=[0.5, 0.5])
    positions = epoch_positions(order, 0)
    assert np.bincount(positions >= 900).tolist() == [600, 600]
    assert np.bincount(positions[positions >= 900] - 900).tolist() == [2] * 300
    drawn = positions.reshape(order.steps_per_epoch, 4, 10)
    first_lane = drawn[:10, 0][drawn[:10, 0] < 900]
    assert len(np.unique(first_lane // 50)) <= 3


def test_lanes_that_a_set_cannot_fill_are_refused():
    with pytest.raises(
        DataError, match=r"data.lanes: a shard set has fewer .* got 3 samples and 4"
    ):
        SampleOrder([tars(60, 10), tars(3, 3)], 8, Shuffle(0, lanes=4))


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("at_once", [1, 3 * 8, 4096])
def test_how_many_steps_are_drawn_at_once_changes_nothing(monkeypatch, lanes, at_once):
    def order() -> SampleOrder:
        sets = [tars(101, 9), tars(64, 9)]
        return SampleOrder(sets, 8, Shuffle(5, lanes, 10), weights=(0.3, 0.7))

    steps = range(3 * order().steps_per_epoch)
    forward = {step: order().draws(step) for step in steps}
    monkeypatch.setattr("retfm_dist.data.order._DRAWN_AT_ONCE", at_once)
    other = order()
    for step in reversed(steps):
        draws = other.draws(step)
        assert draws.positions.tolist() == forward[step].positions.tolist()
        assert draws.repeats.tolist() == forward[step].repeats.tolist()
