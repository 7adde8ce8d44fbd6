"""Model FLOP utilization: the model's FLOP/s as a share of the hardware's peak.

Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B.
"""

import time

import torch

# Dense bf16 peak of tensor cores, FLOP/s, by the start of the device's name; the first match
# counts. Source: NVIDIA's datasheets of A100, H100 (SXM and PCIe) and H200, without sparsity.
_BF16_PEAKS = (
    ("NVIDIA A100", 312e12),
    ("NVIDIA H100 PCIe", 756e12),
    ("NVIDIA H100", 989e12),
    ("NVIDIA H200", 989e12),
)


def bf16_peak(device_name: str) -> float | None:
    """Return the dense bf16 peak of a device, FLOP/s; None where it is not known.

    Args:
        device_name: As `torch.cuda.get_device_name` gives it.
    """
    return next((peak for start, peak in _BF16_PEAKS if device_name.startswith(start)), None)


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return what a large matrix product reaches on a device, FLOP/s: a limit that can be met.

    The datasheet's figure is one that no program reaches.

    Args:
        device: Where to multiply.
        dtype: Of the factors.
    """
    side = 8192 if device.type == "cuda" else 256
    factor = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / min(_seconds_of_product(factor, times=5) for _ in range(4))


def _seconds_of_product(factor: torch.Tensor, *, times: int) -> float:
    _wait_for(factor.device)
    begun_at = time.perf_counter()
    for _ in range(times):
        torch.matmul(factor, factor)
    _wait_for(factor.device)
    return (time.perf_counter() - begun_at) / times


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def utilization(
    images_per_s: float, *, flops_per_image: int, peak: float, world_size: int
) -> float:
    """Return the model FLOP utilization, in [0, 1].

    Args:
        images_per_s: Throughput of all ranks together.
        flops_per_image: Operations of the reference model's training step on one image.
        peak: Of one device, FLOP/s.
        world_size: Number of devices.
    """
    return images_per_s * flops_per_image / (peak * world_size)
