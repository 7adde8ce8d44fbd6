"""One step against a recording engine: order, weights of the micro-batches, refusal."""

import math

import pytest
import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.rng.streams import mask_noise
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.outcomes import Outcomes
from retfm_dist.train.step import Inputs, batch_inputs, train_step
from tests.fakes.host_waits import HostWaits
from tests.fakes.training import FakeBatch, FakeLoader, TinyMae, tiny_config

CPU = torch.device("cpu")


class RecordingEngine:
    device = CPU

    def __init__(self, losses, norm=3.0):
        self.losses, self.norm, self.calls = list(losses), norm, []

    def forward_backward(self, images, noise, *, is_last):
        self.calls.append((float(images.sum()), is_last))
        return torch.tensor(self.losses.pop(0))

    def squared_gradient_norm(self):
        return torch.tensor(self.norm**2)

    def has_finite_gradients(self):
        return torch.tensor(math.isfinite(self.norm))

    def update(self, lr, *, norm, is_sound):
        self.calls.append(("update", lr, norm.item()))
        return is_sound


def step(engine, num_micro, limit=1e9):
    inputs = [
        Inputs(torch.full((2,), float(i)), torch.zeros(2), torch.tensor([i]))
        for i in range(num_micro)
    ]
    return train_step(engine, inputs, grad_accum_steps=num_micro, lr=0.1, limit=limit)


def test_micro_batches_are_accumulated_and_the_last_one_decides():
    engine = RecordingEngine([1.0, 2.0, 6.0])
    found = step(engine, 3)
    assert (found.loss.item(), found.losses.tolist()) == (3.0, [3.0])
    assert found.is_updated
    assert engine.calls == [(0.0, False), (2.0, False), (4.0, True), ("update", 0.1, 3.0)]


@pytest.mark.parametrize("losses", [[1.0, math.nan], [math.inf, 1.0], [-math.inf, math.inf]])
def test_a_loss_that_is_not_finite_is_not_learned_from(losses):
    found = step(RecordingEngine(losses), 2)
    assert not found.is_updated
    assert not torch.isfinite(found.losses).any()


def test_a_gradient_that_is_not_finite_is_not_learned_from():
    found = step(RecordingEngine([1.0], norm=math.inf), 1)
    assert not found.is_updated
    assert found.losses == 1.0
    assert found.is_finite.tolist() == [False]


def test_a_mean_loss_above_the_limit_is_not_learned_from():
    assert step(RecordingEngine([1.0, 3.0]), 2, limit=2.0).is_updated
    assert not step(RecordingEngine([1.0, 3.1]), 2, limit=2.0).is_updated


@pytest.mark.parametrize("micro", [2, 8])
@pytest.mark.parametrize(
    ("stage", "precision"), [(0, "fp32"), (1, "fp32"), (2, "fp32"), (1, "bf16"), (2, "bf16")]
)
def test_the_host_waits_for_nothing_in_a_step(tmp_path, device, stage, precision, micro):
    config = tiny_config(
        tmp_path,
        engine__zero_stage=stage,
        engine__precision=precision,
        schedule__micro_batch_size=micro,
        optimizer__gradient_clipping=1.0,
    )
    engine = Engine(config, model=TinyMae(), ranks=Ranks(), device=device)
    outcomes = Outcomes()

    def make(step):
        inputs = [
            batch_inputs(batch, seed=0, num_patches=4, device=device)
            for batch in FakeLoader(config, Ranks()).batches(step, step + 1)
        ]
        found = train_step(engine, inputs, grad_accum_steps=len(inputs), lr=0.1, limit=9.0)
        outcomes.add(step, found, limit=9.0, uids=())

    make(0)
    with HostWaits() as waits:
        make(1)
    assert waits.found == []
    with HostWaits() as waits:
        bool(torch.ones(()))  # the counter itself counts
        torch.ones(2).tolist()
    assert waits.found == ["aten::_local_scalar_dense", "tolist"]
    engine.close()


def test_masks_follow_from_seed_epoch_and_uid():
    uids = torch.tensor([3, -5])
    batch = FakeBatch(torch.zeros(2, 3, 4, 4), uids, step=9, micro_step=0, epoch=2)
    found = batch_inputs(batch, seed=11, num_patches=16, device=CPU)
    assert found.images is batch.images
    assert found.uids is uids
    assert torch.equal(found.noise, mask_noise(11, 2, uids, 16))
