"""How each sample is cropped and flipped: pure functions of (seed, epoch, uid, height, width).

The crop is that of torchvision's RandomResizedCrop, which MAE uses: up to ten attempts at a box
of random area and log-uniform aspect ratio, then the largest central box of allowed ratio. Boxes
are computed with additions, multiplications, divisions and square roots only, which IEEE 754
rounds in one way: exp and log differ in the last bit between processors, and could move a box
by a pixel from one machine to another.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.rng.streams import Stream, sample_words, uniforms

_NUM_ATTEMPTS = 10
_WORDS_PER_ATTEMPT = 4  # area, aspect ratio, top, left
_UNIFORM_BITS = 24


@dataclass(frozen=True)
class Augmentation:
    """Ranges that crops and flips are drawn from.

    Attributes:
        crop_scale: Smallest and largest share of the image's area that a crop covers.
        crop_ratio: Smallest and largest width/height of a crop.
        flip_probability: Probability of a horizontal flip.
    """

    crop_scale: tuple[float, float]
    crop_ratio: tuple[float, float]
    flip_probability: float


def draw_boxes(
    augmentation: Augmentation,
    *,
    seed: int,
    epoch: int,
    uids: NDArray[np.uint64],
    heights: NDArray[np.integer],
    widths: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Draw each sample's crop box.

    Args:
        augmentation: Ranges of area and aspect ratio.
        seed: Seed of the run.
        epoch: Pass over the data.
        uids: uint64 [B] content identifiers.
        heights: Integer [B] image heights, px.
        widths: Integer [B] image widths, px.

    Returns:
        int64 [B, 4]: top, left, height, width, px; every box lies inside its image.

    Source: torchvision.transforms.RandomResizedCrop.get_params; attempts and ranges after
        Szegedy et al. 2015, arXiv:1409.4842, section 6.
    """
    num_words = _NUM_ATTEMPTS * _WORDS_PER_ATTEMPT
    words = sample_words(seed, epoch, uids, Stream.CROP, num_words)
    # [B, 10, 4], one Philox block per attempt.
    drawn = uniforms(words).reshape(-1, _NUM_ATTEMPTS, _WORDS_PER_ATTEMPT)
    image_height = heights.astype(np.int64)[:, None]
    image_width = widths.astype(np.int64)[:, None]
    low, high = augmentation.crop_scale
    area = image_height * image_width * (low + drawn[..., 0] * (high - low))
    ratio = _log_uniform(drawn[..., 1], augmentation.crop_ratio)
    height = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    width = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    fits: NDArray[np.bool_] = (height > 0) & (height <= image_height)
    fits &= (width > 0) & (width <= image_width)
    top = (drawn[..., 2] * (image_height - height + 1)).astype(np.int64)
    left = (drawn[..., 3] * (image_width - width + 1)).astype(np.int64)
    attempts = np.stack([top, left, height, width], axis=-1)
    # The first attempt that fits; argmax gives 0 where none does, which the fallback replaces.
    boxes = attempts[np.arange(len(uids)), fits.argmax(axis=1)]
    fallback = _central_boxes(image_height[:, 0], image_width[:, 0], augmentation.crop_ratio)
    return np.where(fits.any(axis=1, keepdims=True), boxes, fallback)


def draw_flips(
    augmentation: Augmentation, *, seed: int, epoch: int, uids: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """Draw which samples are flipped left to right.

    Args:
        augmentation: Holds the probability of a flip.
        seed: Seed of the run.
        epoch: Pass over the data.
        uids: uint64 [B] content identifiers.

    Returns:
        bool [B].
    """
    drawn = uniforms(sample_words(seed, epoch, uids, Stream.FLIP, 1))[:, 0]
    return drawn < augmentation.flip_probability


def _log_uniform(drawn: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Return low * (high / low)**u for each u, without exp and log.

    A uniform u is a sum of 2**-k over its set bits k = 1..24, so the power is a product of
    (high / low)**(2**-k), each the square root of the one before.
    """
    low, high = bounds
    bits = (drawn * 2**_UNIFORM_BITS).astype(np.int64)
    values = np.full(drawn.shape, low)
    factor = np.float64(high / low)
    for bit in reversed(range(_UNIFORM_BITS)):
        factor = np.sqrt(factor)
        values = np.where(bits >> bit & 1, values * factor, values)
    return values


def _central_boxes(
    height: NDArray[np.int64], width: NDArray[np.int64], bounds: tuple[float, float]
) -> NDArray[np.int64]:
    """Return the largest central box whose aspect ratio is allowed, int64 [B, 4]."""
    low, high = bounds
    ratio = width / height
    # At least one pixel: a strip may be so thin that the rounding would leave none.
    box_height = np.where(ratio < low, np.maximum(np.rint(width / low), 1), height)
    box_width = np.where(ratio > high, np.maximum(np.rint(height * high), 1), width)
    box = [(height - box_height) // 2, (width - box_width) // 2, box_height, box_width]
    return np.stack(box, axis=-1).astype(np.int64)
