"""Draw the optic disc: pale crescent, pink rim, bright cup, in a box around it."""

import math

import numpy as np
from numpy.typing import NDArray

from retfm_dist.synth.anatomy import Anatomy, Disc
from retfm_dist.synth.draw.field import Field

Floats = NDArray[np.float32]

_CUP_COLOR = np.array([1.22, 1.00, 0.64])
_RIM_COLOR = np.array([1.02, 0.60, 0.31])
_PALE_RIM_COLOR = np.array([1.14, 0.82, 0.47])
_CRESCENT_COLOR = np.array([1.0, 0.66, 0.36])
_BOX_RADII = 1.9


def blend_disc(light: Floats, anatomy: Anatomy, field: Field) -> None:
    """Paint the disc over `light` [3, h, w] in place."""
    disc = anatomy.disc
    rows, columns = _box(disc, field)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    across, down = field.x[rows, columns] - disc.x, field.y[rows, columns] - disc.y
    cosine, sine = math.cos(disc.tilt), math.sin(disc.tilt)
    u = ((across * cosine + down * sine) / disc.width).astype(np.float32, copy=False)
    v = ((down * cosine - across * sine) / disc.height).astype(np.float32, copy=False)
    angle = np.arctan2(v, u)
    # A rim that is no perfect ellipse.
    rho = np.hypot(u, v) * (
        1 + 0.025 * np.cos(2 * angle + 5 * disc.tilt) + 0.02 * np.sin(3 * angle)
    )
    edge_px = 1 / (disc.width * field.radius_px)
    patch = light[:, rows, columns]
    # Faded pigment on the temporal side (negative u), mostly of older eyes.
    shifted = np.hypot(u + 0.22 * disc.crescent, v) / (1 + 0.22 * disc.crescent)
    crescent = _edge(shifted, 0.05 + edge_px) * np.float32(0.6 * disc.crescent)
    _blend(patch, _CRESCENT_COLOR, crescent)
    patch *= 1 + np.float32(0.22) * np.exp(-((rho - 1.0) ** 2) / np.float32(0.16))
    _blend(patch, _rim_color(disc, u, patch), _edge(rho, 0.055 + edge_px) * np.float32(0.93))
    ring = np.exp(-(((rho - 0.98) / 0.055) ** 2)) * (0.6 - 0.4 * np.clip(u, -1, 1))
    patch *= 1 + np.float32(0.12) * ring
    cup = _draw_cup(disc, u, v, edge_px)
    _blend(patch, _CUP_COLOR, cup * np.float32(0.80))


def _draw_cup(disc: Disc, u: Floats, v: Floats, edge_px: float) -> Floats:
    """Return the cup's opacity; it lies a little temporally and is round where the disc is oval."""
    ratio = disc.cup_ratio
    rho = np.hypot((u + 0.12 * (1 - ratio)) / (0.94 * ratio), v / ratio)
    return _edge(rho, 0.30 + edge_px / ratio)


def _rim_color(disc: Disc, u: Floats, patch: Floats) -> Floats:
    """Return the rim's color [3, ...]: pinker toward the nose, tinted by the fundus around it."""
    pallor = np.clip(disc.pallor - 0.28 * u, 0, 1)
    plain = _RIM_COLOR[:, None, None] * (1 - pallor) + _PALE_RIM_COLOR[:, None, None] * pallor
    return (0.86 * plain + 0.14 * patch).astype(np.float32)


def _edge(rho: NDArray[np.floating], softness: float) -> Floats:
    """Return 1 inside rho = 1 and 0 outside, with a soft step."""
    step = np.clip((1 - rho) / np.float32(2 * softness) + np.float32(0.5), 0, 1)
    return (step * step * (3 - 2 * step)).astype(np.float32, copy=False)


def _blend(patch: Floats, color: NDArray[np.floating], opacity: Floats) -> None:
    wanted = color if color.ndim == 3 else color[:, None, None]
    patch += (wanted - patch) * opacity


def _box(disc: Disc, field: Field) -> tuple[slice, slice]:
    """Return the rows and columns around the disc, cut to the picture."""
    x, y = field.to_px(np.array([disc.x, disc.y]))
    reach = _BOX_RADII * max(disc.width, disc.height) * field.radius_px
    height, width = field.shape
    rows = slice(max(0, int(y - reach)), min(height, int(y + reach) + 1))
    return rows, slice(max(0, int(x - reach)), min(width, int(x + reach) + 1))
