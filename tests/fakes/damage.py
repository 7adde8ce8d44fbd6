"""Damage that no decoder of JPEG notices."""

import numpy as np

from retfm_dist.image.block_steps import BlockLayout


def shift(pixels: np.ndarray, layout: BlockLayout, block: int, amount) -> np.ndarray:
    """Shift all blocks from one on, in raster order."""
    columns = pixels.shape[1] // layout.width
    shifted = pixels.astype(int)
    for number in range(block, (len(pixels) // layout.height) * columns):
        top, left = number // columns * layout.height, number % columns * layout.width
        shifted[top : top + layout.height, left : left + layout.width] += amount
    return np.clip(shifted, 0, 255).astype(np.uint8)
