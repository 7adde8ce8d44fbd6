import numpy as np
import pytest

from retfm_dist.data.order import SampleOrder
from retfm_dist.errors import DataError


def epoch_positions(order: SampleOrder, epoch: int) -> np.ndarray:
    first = epoch * order.steps_per_epoch
    return np.concatenate([order.positions(first + i) for i in range(order.steps_per_epoch)])


@pytest.mark.parametrize(("num_samples", "batch_size"), [(37, 8), (64, 64), (1000, 7), (5, 1)])
@pytest.mark.parametrize("seed", [0, 2**62 + 1])
def test_an_epoch_takes_no_sample_twice_and_leaves_out_only_the_tail(num_samples, batch_size, seed):
    order = SampleOrder(num_samples, batch_size, seed)
    for epoch in range(3):
        positions = epoch_positions(order, epoch)
        assert len(positions) == num_samples - num_samples % batch_size
        assert len(set(positions.tolist())) == len(positions)
        assert positions.min() >= 0
        assert positions.max() < num_samples


def test_a_large_set_is_covered_but_for_one_batch():
    order = SampleOrder(num_samples=20_011, global_batch_size=128, seed=1)
    assert len(set(epoch_positions(order, 2).tolist())) / 20_011 >= 0.99


def test_every_epoch_leaves_out_another_tail():
    order = SampleOrder(num_samples=37, global_batch_size=8, seed=3)
    tails = {frozenset(range(37)) - set(epoch_positions(order, epoch)) for epoch in range(6)}
    assert len(tails) == 6


def test_epochs_and_seeds_have_their_own_order():
    orders = {
        tuple(epoch_positions(SampleOrder(100, 10, seed), epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_epochs_begin_every_so_many_steps():
    order = SampleOrder(num_samples=37, global_batch_size=8, seed=0)
    assert order.steps_per_epoch == 4
    assert [order.epoch_of(step) for step in (0, 3, 4, 7, 8)] == [0, 0, 1, 1, 2]


def test_positions_are_pinned():
    order = SampleOrder(num_samples=904_170, global_batch_size=4, seed=2026)
    assert order.positions(0).tolist() == [218791, 882660, 591606, 259111]
    assert order.positions(order.steps_per_epoch).tolist() == [248682, 292399, 512060, 270380]


def test_a_step_far_out_is_as_cheap_as_the_first():
    order = SampleOrder(num_samples=10**8, global_batch_size=2048, seed=0)
    positions = order.positions(800 * order.steps_per_epoch - 1)
    assert len(set(positions.tolist())) == 2048


def test_a_set_smaller_than_a_batch_is_refused():
    with pytest.raises(DataError, match=r"smaller than one global batch; got 7 samples, .* 8"):
        SampleOrder(num_samples=7, global_batch_size=8, seed=0)


def test_a_negative_step_is_refused():
    with pytest.raises(AssertionError, match="step is -1"):
        SampleOrder(8, 8, 0).positions(-1)
