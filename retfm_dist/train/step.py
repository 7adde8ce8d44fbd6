"""One optimizer step: micro-batches in, one update out."""

from collections.abc import Iterable

import torch

from retfm_dist.errors import TrainError
from retfm_dist.ranks.agreement import first_rank_where
from retfm_dist.ranks.world import Ranks
from retfm_dist.rng.streams import mask_noise
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.interfaces import Batch


def batch_inputs(
    batch: Batch, *, seed: int, num_patches: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch's images and the noise that decides its masks, both on the device.

    Args:
        batch: One micro-batch.
        seed: Seed of the run.
        num_patches: Patches per image, L.
        device: Where the model computes.

    Returns:
        Images [B, 3, S, S] uint8 and noise [B, L] float32.
    """
    images = batch.images.to(device, non_blocking=True)
    uids = batch.uids.to(device, non_blocking=True)
    return images, mask_noise(seed, batch.epoch, uids, num_patches)


def train_step(
    engine: Engine,
    inputs: Iterable[tuple[torch.Tensor, torch.Tensor]],
    *,
    step: int,
    grad_accum_steps: int,
    lr: float,
    ranks: Ranks,
) -> torch.Tensor:
    """Accumulate the gradients of one step, check them on all ranks, and update.

    Args:
        engine: Model and optimizer.
        inputs: Images and noise of `grad_accum_steps` micro-batches.
        step: Completed steps, for the message.
        grad_accum_steps: Micro-batches per step.
        lr: Learning rate of this update.
        ranks: Which rank this is.

    Returns:
        This rank's mean loss over the step, [] on the device.

    Raises:
        TrainError: A loss or gradient is not finite, on any rank; no rank has updated.
    """
    total = torch.zeros((), device=engine.device)
    for micro_step, (images, noise) in enumerate(inputs):
        is_last = micro_step == grad_accum_steps - 1
        total += engine.forward_backward(images, noise, is_last=is_last)
    loss = total / grad_accum_steps
    bad_rank = first_rank_where(
        not torch.isfinite(loss).item(), rank=ranks.rank, device=engine.device
    )
    if bad_rank is not None:
        raise _not_finite("loss", f"step {step}, rank {bad_rank}")
    if not engine.update(lr):
        raise _not_finite("gradient", f"step {step}")
    return loss


def _not_finite(what: str, where: str) -> TrainError:
    return TrainError(
        f"the {what} is not finite; this step changed no weight",
        where=where,
        hint="restart from the last checkpoint with a lower learning rate or in fp32",
    )
