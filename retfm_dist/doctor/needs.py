"""What a run asks of its hosts."""

from dataclasses import dataclass

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.model.flops import train_flops_per_image
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.train.mfu import bf16_peak

_BYTES_OF_STATE = 12
"""Per parameter in a checkpoint: fp32 weight and two moments."""
_BYTES_OFFLOADED = 28
"""Per parameter in engine.offload_dir: weight, gradient, two moments, copy without gradient."""
_BYTES_OF_AVERAGE = 8
"""Likewise for optimizer.ema_decay: the average and its copy."""
_ASSUMED_UTILIZATION = 0.4
_OPEN_FILES = 1024
"""256 shards, their indexes, workers, libraries."""


@dataclass(frozen=True)
class Needs:
    """What a run asks of its hosts.

    Attributes:
        checkpoint_bytes: Space for those that are kept and the one that is being written.
        step_bytes: What a host sends in a step: gradients out, weights in, once around the ring.
        images_per_s: Of all hosts together; None where the hardware is not known.
        step_s: Length of a step at that rate; likewise.
        cores_per_rank: Decoding threads and one for the training loop.
        offload_bytes: Space that a host needs in engine.offload_dir; 0 where none is named.
        open_files: Limit of open files.
    """

    checkpoint_bytes: int
    step_bytes: float
    images_per_s: float | None
    step_s: float | None
    cores_per_rank: int
    offload_bytes: int = 0
    open_files: int = _OPEN_FILES


def needs_of(
    config: PretrainConfig,
    *,
    num_hosts: int,
    accelerators: tuple[str, ...],
    images_per_s: float | None = None,
) -> Needs:
    """Return what a run asks of its hosts.

    Args:
        config: The run.
        num_hosts: How many there are.
        accelerators: Names of all GPUs together.
        images_per_s: Throughput that is wanted of all together; None takes 40 % of the GPUs' peak.
    """
    with torch.device("meta"):
        model = MaskedAutoencoder(config.model)
    num_params = sum(parameter.numel() for parameter in model.parameters())
    peaks = [bf16_peak(name) for name in accelerators]
    if images_per_s is None and peaks and None not in peaks:
        flops = train_flops_per_image(config.model)
        images_per_s = _ASSUMED_UTILIZATION * sum(peak or 0.0 for peak in peaks) / flops
    bytes_offloaded = 0
    if config.engine.offload_dir is not None:
        bytes_offloaded = _BYTES_OFFLOADED
        bytes_offloaded += _BYTES_OF_AVERAGE * (config.optimizer.ema_decay is not None)
    bytes_per_value = 2 if config.engine.precision == "bf16" else 4
    return Needs(
        checkpoint_bytes=_BYTES_OF_STATE * num_params * (config.checkpoint.keep_last + 1),
        # A ring sends (n - 1) / n of the data twice: to reduce gradients, and to gather weights.
        step_bytes=2 * bytes_per_value * num_params * (num_hosts - 1) / num_hosts,
        images_per_s=images_per_s,
        step_s=None if images_per_s is None else config.schedule.global_batch_size / images_per_s,
        cores_per_rank=config.data.decode_threads + 1,
        # Each rank keeps the part that it updates.
        offload_bytes=bytes_offloaded * num_params // num_hosts,
    )
