"""Handcrafted baseline: statistics of color and texture that need no learning.

An encoder that does not beat them has learned nothing that matters for the task. The features, in
order, are named by `FEATURE_NAMES`; changing their definition needs a new `VERSION`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

VERSION = "handcrafted/1"
IMG_SIZE = 224
"""Side of the images the statistics are taken on, px."""

_COLORS = ("red", "green", "blue")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SCALES = (1, 2, 4, 8)
"""Half widths of box filters, px, each twice the one before; a texture band is the difference of
two neighbors."""
_DARK = 10 / 255
"""Pixels below this in all colors are outside the field of view."""

FEATURE_NAMES = (
    *(f"{color}_{stat}" for color in _COLORS for stat in ("mean", "std")),
    *(f"{color}_q{round(100 * q):02d}" for color in _COLORS for q in _QUANTILES),
    *(f"{pair}_correlation" for pair in ("red_green", "red_blue", "green_blue")),
    *(
        f"band_{scale}px_{stat}"
        for scale in _SCALES
        for stat in ("std", "bright_tail", "dark_tail")
    ),
)


def handcrafted_features(images: Tensor) -> Tensor:
    """Describe each image by its colors and by its texture at four scales.

    Args:
        images: uint8 [B, 3, S, S].

    Returns:
        float32 [B, len(FEATURE_NAMES)].
    """
    return torch.stack([_describe(image) for image in images.to(torch.float64) / 255]).float()


def _describe(image: Tensor) -> Tensor:
    """Return the features of one image, float64 [3, S, S] in [0, 1]."""
    inside = (image > _DARK).any(dim=0)
    if inside.sum() < 2:
        inside = torch.ones_like(inside)
    pixels = image[:, inside]  # [3, P]
    centered = pixels - pixels.mean(dim=1, keepdim=True)
    std = centered.square().mean(dim=1).sqrt()
    levels = torch.tensor(_QUANTILES, dtype=pixels.dtype, device=pixels.device)
    quantiles = torch.quantile(pixels, levels, dim=1).T.flatten()
    red, green, blue = centered / std.clamp(min=1e-6)[:, None]
    correlations = torch.stack([(red * green).mean(), (red * blue).mean(), (green * blue).mean()])
    color = torch.stack([pixels.mean(dim=1), std], dim=1).flatten()
    return torch.cat([color, quantiles, correlations, _texture(image[1], inside)])


def _texture(green: Tensor, inside: Tensor) -> Tensor:
    """Return contrast and tails of band-passed green, where vessels and lesions show best."""
    features = []
    finer = _blur(green, _SCALES[0])
    for scale in _SCALES:
        coarser = _blur(green, 2 * scale)
        band = (finer - coarser)[inside]
        std = band.square().mean().sqrt()
        tail = 2 * std
        features += [std, (band > tail).double().mean(), (band < -tail).double().mean()]
        finer = coarser
    return torch.stack(features)


def _blur(plane: Tensor, half_width: int) -> Tensor:
    """Average [S, S] over squares of 2 * half_width + 1 pixels, cut off at the border.

    Along rows, then along columns: the mean over a rectangle is the mean of its rows' means.
    """
    width = 2 * half_width + 1
    for kernel, padding in (((1, width), (0, half_width)), ((width, 1), (half_width, 0))):
        plane = F.avg_pool2d(
            plane[None], kernel, stride=1, padding=padding, count_include_pad=False
        )[0]
    return plane
