"""Reconstruction pictures for visual inspection.

original | removed patches gray | reconstruction, with the kept patches pasted in
"""

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.patches import patch_statistics, patchify, unpatchify
from retfm_dist.model.preprocessing import denormalize_pixels, normalize_pixels

_GRAY = 128


@torch.no_grad()
def reconstruction_panel(
    model: MaskedAutoencoder, images: Tensor, noise: Tensor
) -> NDArray[np.uint8]:
    """Draw one row per image: original, masked, reconstructed.

    A model trained with `norm_pix_loss` predicts each patch up to its mean and contrast; those
    are taken from the true patch, so colors are right by construction and only structure counts.

    Args:
        model: Any state; its mode is left as found.
        images: uint8 [B, 3, S, S] on the model's device.
        noise: float [B, L] as for the model.

    Returns:
        uint8 [B * S, 3 * S, 3], red, green, blue.

    Raises:
        ModelError: `images` or `noise` do not fit the model.
    """
    was_training = model.training
    model.eval()
    try:
        output = model(images, noise)
    finally:
        model.train(was_training)
    original = patchify(images, patch_size=model.patch_size)
    removed = output.mask.bool().unsqueeze(-1)
    predicted = _to_pixels(output.pred, original, norm_pix_loss=model.norm_pix_loss)
    columns = (
        original,
        original.masked_fill(removed, _GRAY),
        torch.where(removed, predicted, original),
    )
    # [B, 3, S, 3 * S] -> [B * S, 3 * S, 3]
    row = torch.cat([unpatchify(column, patch_size=model.patch_size) for column in columns], dim=3)
    return row.permute(0, 2, 3, 1).flatten(0, 1).cpu().numpy()


def _to_pixels(
    pred: Tensor, original: UInt8[Tensor, "B L P"], *, norm_pix_loss: bool
) -> UInt8[Tensor, "B L P"]:
    """Turn predictions into pixels, undoing the normalization of each patch where there is one."""
    dtype = torch.promote_types(torch.float32, pred.dtype)
    values = pred.to(dtype)
    if norm_pix_loss:
        pixels = normalize_pixels(original.unflatten(-1, (-1, 3)), dtype=dtype).flatten(-2)
        mean, std = patch_statistics(pixels)
        values = values * std + mean
    return denormalize_pixels(values.unflatten(-1, (-1, 3))).flatten(-2)
