"""Where the field of view lies on the picture, and its coordinate grids.

full            whole circle, black all around
cut_top_bottom  circle wider than the picture is high
cut_four_sides  circle wider than the picture; only the corners are black
notch           whole circle with a small bump at the upper right rim
"""

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retfm_dist.synth.draw.upsample import upsample
from retfm_dist.synth.sites import Layout

Floats = NDArray[np.float32]

_RADIUS_PER_HEIGHT = {
    "full": 0.475,
    "cut_top_bottom": 0.575,
    "cut_four_sides": 0.565,
    "notch": 0.475,
}
_NOTCH_ANGLE = np.deg2rad(42)
_NOTCH_RADIUS = 0.034
_MAX_COARSENESS = 4
_MIN_COARSE_HEIGHT_PX = 64


@dataclass(frozen=True, eq=False)
class Coarse:
    """The field at a lower resolution, for what is smooth.

    Attributes:
        x: [h', w'] as in `Field`.
        y: [h', w'] as in `Field`.
        factor: Fine pixels per coarse pixel, each way.
        fine_shape: (h, w).
    """

    x: Floats
    y: Floats
    factor: int
    fine_shape: tuple[int, int]

    def enlarge(self, values: Floats) -> Floats:
        """Return values [h', w'] at the full resolution, [h, w]."""
        return upsample(values, self.factor, shape=self.fine_shape)


@dataclass(frozen=True, eq=False)
class Field:
    """Grids of a field of view; computed once per process, layout and size, never changed.

    Retinal drawing is done in a box around the circle: h rows, w columns.

    Attributes:
        canvas_shape: Rows and columns of the whole picture.
        left: Column of the canvas where the box begins; it has the canvas's height.
        shape: (h, w).
        radius_px: Radius of the circle.
        center_px: x and y of its center within the box.
        x: [h, w] coordinate to the right, or to the left if `x_sign` is -1; unit: radius.
        y: [h, w] coordinate upward, unit: radius.
        mask: [h, w] share of each pixel inside the field, with a soft edge.
        coarse: The same field at a lower resolution.
        x_sign: 1, or -1 in a field that shows what is drawn in mirror image.
    """

    canvas_shape: tuple[int, int]
    left: int
    shape: tuple[int, int]
    radius_px: float
    center_px: tuple[float, float]
    x: Floats
    y: Floats
    mask: Floats
    coarse: Coarse
    x_sign: int = 1

    def to_px(self, points: NDArray[np.floating]) -> Floats:
        """Return the pixel positions [..., 2] in the box of points in units of the radius."""
        flipped = points * np.array([self.x_sign, -1.0])
        return (flipped * self.radius_px + np.array(self.center_px)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def build_field(layout: Layout, *, size_px: int, aspect_ratio: float) -> Field:
    """Lay out a picture of height `size_px`; the result is shared, do not write to it."""
    width = round(size_px * aspect_ratio)
    radius = _RADIUS_PER_HEIGHT[layout] * size_px
    box_width = min(width, int(np.ceil(2.16 * radius / 4)) * 4)
    center = ((box_width - 1) / 2, (size_px - 1) / 2)
    shape = (size_px, box_width)
    factor = max(1, min(_MAX_COARSENESS, size_px // _MIN_COARSE_HEIGHT_PX))
    x, y = _build_grids(shape, center, radius)
    # The middle of coarse pixel (0, 0) is that of the fine pixels which it covers.
    coarse_x, coarse_y = _build_grids(
        (-(-size_px // factor), -(-box_width // factor)),
        ((center[0] + 0.5) / factor - 0.5, (center[1] + 0.5) / factor - 0.5),
        radius / factor,
    )
    return Field(
        canvas_shape=(size_px, width),
        left=(width - box_width) // 2,
        shape=shape,
        radius_px=radius,
        center_px=center,
        x=x,
        y=y,
        mask=_draw_mask(layout, x, y, radius),
        coarse=Coarse(x=coarse_x, y=coarse_y, factor=factor, fine_shape=shape),
    )


@functools.lru_cache(maxsize=8)
def mirror_field(field: Field) -> Field:
    """Return the field with x growing to the left; the camera's mask is not mirrored."""
    coarse = replace(field.coarse, x=-field.coarse.x)
    return replace(field, x=-field.x, x_sign=-1, coarse=coarse)


def _build_grids(
    shape: tuple[int, int], center: tuple[float, float], radius: float
) -> tuple[Floats, Floats]:
    """Return the coordinates x and y, each [h, w], of the pixels' middles."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    x, y = (columns - center[0]) / radius, (center[1] - rows) / radius
    return x.astype(np.float32), y.astype(np.float32)


def _draw_mask(layout: Layout, x: Floats, y: Floats, radius: float) -> Floats:
    inside = 1 - np.hypot(x, y)
    if layout == "notch":
        bump = np.array([np.cos(_NOTCH_ANGLE), np.sin(_NOTCH_ANGLE)]) * 1.002
        inside = np.maximum(inside, _NOTCH_RADIUS - np.hypot(x - bump[0], y - bump[1]))
    edge_px = max(0.7, 0.004 * radius)
    return np.clip(0.5 + inside * radius / (2 * edge_px), 0, 1).astype(np.float32)
