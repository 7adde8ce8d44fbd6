"""Pixel normalization; defines the constants that exports repeat."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue over ImageNet, pixels in [0, 1]. Source: as used by He et al. 2022,
arXiv:2111.06377."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue, likewise."""


def normalize_pixels(
    pixels: UInt8[Tensor, "*batch 3"], *, dtype: torch.dtype
) -> Float[Tensor, "*batch 3"]:
    """Map stored pixels to zero mean and unit variance per color, over ImageNet.

    Args:
        pixels: uint8 [..., 3], red, green, blue last.
        dtype: Floating type to compute in and to return.

    Returns:
        [..., 3] of `dtype`.
    """
    mean, std = _channel_constants(dtype, pixels.device)
    return (pixels.to(dtype) / 255 - mean) / std


def denormalize_pixels(values: Float[Tensor, "*batch 3"]) -> UInt8[Tensor, "*batch 3"]:
    """Map network values back to pixels, rounded and clipped; undoes `normalize_pixels` exactly.

    Args:
        values: [..., 3] normalized red, green, blue, float32 or wider.

    Returns:
        uint8 [..., 3].
    """
    mean, std = _channel_constants(values.dtype, values.device)
    return ((values * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def _channel_constants(
    dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return mean and standard deviation as tensors, made on the device itself.

    Filling does not wait for the device, as a copy from host memory would; a buffer of the
    module would lose digits when the model is cast to bfloat16.
    """
    mean, std = (
        torch.stack([torch.full((), value, dtype=dtype, device=device) for value in constants])
        for constants in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return mean, std
