"""One optimizer step: micro-batches in, at most one update out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from retfm_dist.ranks.agreement import gather_each
from retfm_dist.rng.streams import mask_noise
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.interfaces import Batch, Replacement
from retfm_dist.train.stability import is_sound


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
    """What became of a step; on the device, which may not have come so far.

    Attributes:
        loss: [] this rank's mean loss over its micro-batches.
        losses: [world_size] every rank's.
        is_finite: [world_size] bool, whether each rank's own gradients were finite.
        is_updated: [] bool, whether the weights have changed; the same on all ranks.
    """

    loss: torch.Tensor
    losses: torch.Tensor
    is_finite: torch.Tensor
    is_updated: torch.Tensor


def batch_inputs(
    batch: Batch, *, seed: int, num_patches: int, device: torch.device, compiled: bool = False
) -> Inputs:
    """Return a batch on the device, with the noise that decides its masks.

    Args:
        batch: One micro-batch.
        seed: Seed of the run.
        num_patches: Patches per image, L.
        device: Where the model computes.
        compiled: Whether the noise comes from compiled code; its bits are the same.
    """
    images = batch.images.to(device, non_blocking=True)
    keys = batch.keys.to(device, non_blocking=True)
    noise = mask_noise(seed, batch.epoch, keys, num_patches, compiled=compiled)
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

    The host waits for nothing here.

    Args:
        engine: Model and optimizer.
        inputs: `grad_accum_steps` micro-batches.
        grad_accum_steps: Micro-batches per step.
        lr: Learning rate of this update.
        limit: Largest mean loss over all ranks that is no spike.
    """
    total = torch.zeros((), device=engine.device)
    for micro_step, micro in enumerate(inputs):
        is_last = micro_step == grad_accum_steps - 1
        total += engine.forward_backward(micro.images, micro.noise, is_last=is_last)
    loss = total / grad_accum_steps
    is_finite = engine.has_finite_gradients().to(loss.dtype)
    everyone = gather_each(torch.stack([loss, engine.squared_gradient_norm(), is_finite]))
    losses, squares, finite = everyone.unbind(1)
    norm = squares.sum().sqrt()
    # All ranks see the same, so that all update or none.
    is_updated = engine.update(lr, norm=norm, is_sound=is_sound(losses, norm, limit))
    return StepResult(loss, losses, finite.bool(), is_updated)
