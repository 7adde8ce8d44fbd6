"""One optimizer step: micro-batches in, at most one update out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from retfm_dist.ranks.agreement import gather_scalars
from retfm_dist.rng.streams import mask_noise
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.interfaces import Batch, Replacement
from retfm_dist.train.stability import update_factor


@dataclass(frozen=True)
class Inputs:
    """One micro-batch on the device.

    Attributes:
        images: [B, 3, S, S] uint8.
        noise: [B, L] float32, which decides the masks.
        uids: [B] int64 on the host, the bits of the samples' uids.
        replaced: Samples that could not be used.
    """

    images: torch.Tensor
    noise: torch.Tensor
    uids: torch.Tensor
    replaced: Sequence[Replacement] = ()


@dataclass(frozen=True)
class StepResult:
    """What became of a step.

    Attributes:
        loss: This rank's mean loss over its micro-batches, [] on the device.
        losses: Every rank's.
        is_updated: Whether the weights have changed, the same on all ranks.
    """

    loss: torch.Tensor
    losses: list[float]
    is_updated: bool


def batch_inputs(batch: Batch, *, seed: int, num_patches: int, device: torch.device) -> Inputs:
    """Return a batch on the device, with the noise that decides its masks.

    Args:
        batch: One micro-batch.
        seed: Seed of the run.
        num_patches: Patches per image, L.
        device: Where the model computes.
    """
    images = batch.images.to(device, non_blocking=True)
    keys = batch.keys.to(device, non_blocking=True)
    noise = mask_noise(seed, batch.epoch, keys, num_patches)
    return Inputs(images, noise, batch.uids, batch.replaced)


def train_step(
    engine: Engine,
    inputs: Iterable[Inputs],
    *,
    grad_accum_steps: int,
    lr: float,
    limit: float,
) -> StepResult:
    """Accumulate the gradients of one step and update, on all ranks or on none.

    Args:
        engine: Model and optimizer.
        inputs: `grad_accum_steps` micro-batches.
        grad_accum_steps: Micro-batches per step.
        lr: Learning rate of this update.
        limit: Largest mean loss over all ranks that is no spike.
    """
    total = torch.zeros((), device=engine.device)
    everyone = total[None]

    def agree(loss: torch.Tensor) -> torch.Tensor:
        nonlocal everyone
        everyone = gather_scalars((total + loss) / grad_accum_steps)
        return update_factor(everyone, limit)

    for micro_step, micro in enumerate(inputs):
        # The ranks agree before the last gradient, so that no rank updates with a bad one.
        gate = agree if micro_step == grad_accum_steps - 1 else None
        total += engine.forward_backward(micro.images, micro.noise, gate=gate)
    is_updated = engine.update(lr)
    return StepResult(total / grad_accum_steps, everyone.tolist(), is_updated)
