"""One step against a recording engine: order, weights of the micro-batches, refusal."""

import pytest
import torch

from retfm_dist.errors import TrainError
from retfm_dist.ranks.world import Ranks
from retfm_dist.rng.streams import mask_noise
from retfm_dist.train.step import batch_inputs, train_step
from tests.fakes.training import FakeBatch

CPU = torch.device("cpu")


class RecordingEngine:
    device = CPU

    def __init__(self, losses, *, is_finite=True):
        self.losses, self.is_finite, self.calls = list(losses), is_finite, []

    def forward_backward(self, images, noise, *, is_last):
        self.calls.append((float(images.sum()), is_last))
        return torch.tensor(self.losses.pop(0))

    def update(self, lr):
        self.calls.append(("update", lr))
        return self.is_finite


def step(engine, num_micro):
    inputs = [(torch.full((2,), float(i)), torch.zeros(2)) for i in range(num_micro)]
    return train_step(
        engine, inputs, step=7, grad_accum_steps=num_micro, lr=0.1, ranks=Ranks(rank=0)
    )


def test_micro_batches_are_accumulated_and_the_last_one_is_told():
    engine = RecordingEngine([1.0, 2.0, 6.0])
    assert step(engine, 3) == 3.0
    assert engine.calls == [(0.0, False), (2.0, False), (4.0, True), ("update", 0.1)]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused_before_the_update(loss):
    engine = RecordingEngine([1.0, loss])
    with pytest.raises(TrainError, match="step 7, rank 0: the loss is not finite"):
        step(engine, 2)
    assert ("update", 0.1) not in engine.calls


def test_a_gradient_that_is_not_finite_is_refused():
    with pytest.raises(TrainError, match="step 7: the gradient is not finite; this step changed"):
        step(RecordingEngine([1.0], is_finite=False), 1)


def test_masks_follow_from_seed_epoch_and_uid():
    uids = torch.tensor([3, -5])
    batch = FakeBatch(torch.zeros(2, 3, 4, 4), uids, step=9, micro_step=0, epoch=2)
    images, noise = batch_inputs(batch, seed=11, num_patches=16, device=CPU)
    assert images is batch.images
    assert torch.equal(noise, mask_noise(11, 2, uids, 16))
