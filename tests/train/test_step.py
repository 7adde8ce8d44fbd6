"""One step against a recording engine: order, weights of the micro-batches, refusal."""

import math

import pytest
import torch

from retfm_dist.rng.streams import mask_noise
from retfm_dist.train.step import Inputs, batch_inputs, train_step
from tests.fakes.training import FakeBatch

CPU = torch.device("cpu")


class RecordingEngine:
    device = CPU

    def __init__(self, losses):
        self.losses, self.calls = list(losses), []

    def forward_backward(self, images, noise, *, gate):
        loss = torch.tensor(self.losses.pop(0))
        self.calls.append((float(images.sum()), None if gate is None else gate(loss).item()))
        return loss

    def update(self, lr):
        self.calls.append(("update", lr))
        return self.calls[-2][1] == 1


def step(engine, num_micro, limit=1e9):
    inputs = [
        Inputs(torch.full((2,), float(i)), torch.zeros(2), torch.tensor([i]))
        for i in range(num_micro)
    ]
    return train_step(engine, inputs, grad_accum_steps=num_micro, lr=0.1, limit=limit)


def test_micro_batches_are_accumulated_and_the_last_one_decides():
    engine = RecordingEngine([1.0, 2.0, 6.0])
    found = step(engine, 3)
    assert (found.loss, found.losses, found.is_updated) == (3.0, [3.0], True)
    assert engine.calls == [(0.0, None), (2.0, None), (4.0, 1.0), ("update", 0.1)]


@pytest.mark.parametrize("losses", [[1.0, math.nan], [math.inf, 1.0], [-math.inf, math.inf]])
def test_a_loss_that_is_not_finite_lets_no_gradient_through(losses):
    engine = RecordingEngine(losses)
    found = step(engine, 2)
    assert math.isnan(engine.calls[1][1])
    assert not found.is_updated
    assert not math.isfinite(found.losses[0])


def test_a_mean_loss_above_the_limit_lets_no_gradient_through():
    assert step(RecordingEngine([1.0, 3.0]), 2, limit=2.0).is_updated
    assert not step(RecordingEngine([1.0, 3.1]), 2, limit=2.0).is_updated


def test_masks_follow_from_seed_epoch_and_uid():
    uids = torch.tensor([3, -5])
    batch = FakeBatch(torch.zeros(2, 3, 4, 4), uids, step=9, micro_step=0, epoch=2)
    found = batch_inputs(batch, seed=11, num_patches=16, device=CPU)
    assert found.images is batch.images
    assert found.uids is uids
    assert torch.equal(found.noise, mask_noise(11, 2, uids, 16))
