"""Draw diabetic retinopathy: microaneurysms, hemorrhages, hard exudates.

Severity sets how many lesions there are; visibility scales both their number and their strength,
and at visibility 0 nothing is drawn.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from retfm_dist.synth.anatomy import Anatomy
from retfm_dist.synth.draw.field import Field
from retfm_dist.synth.draw.stamp import Marks, stamp

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

_BLOOD = np.array([0.50, 1.20, 0.85])
_EXUDATE_COLOR = np.array([1.08, 0.86, 0.40])


def draw_exudates(
    anatomy: Anatomy, field: Field, *, severity: float, visibility: float, stream: Generator
) -> Floats:
    """Return the opacity [h, w] of clusters of yellow deposits around the macula."""
    extent = severity * visibility
    num_clusters = int(np.ceil(extent * (2 + stream.integers(4))))
    centers, radii = [np.zeros((0, 2))], [np.zeros(0)]
    for _ in range(num_clusters):
        angle = stream.uniform(-np.pi, np.pi)
        outward = np.array([np.cos(angle), np.sin(angle)])
        fovea = np.array([anatomy.fovea_x, anatomy.fovea_y])
        middle = fovea + stream.uniform(0.14, 0.46) * outward
        count = int(12 + extent * stream.integers(16, 60))
        # Deposits gather on an arc around a leaking spot.
        turns = stream.normal(angle, 0.9, count)
        reach = np.abs(stream.normal(0.06, 0.020, count))
        centers.append(middle + reach[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1))
        radii.append(0.0028 + 0.0085 * stream.random(count) ** 3)
    return _stamp_all(np.concatenate(centers), np.concatenate(radii), field, weight=visibility)


def draw_hemorrhages(
    field: Field, *, severity: float, visibility: float, stream: Generator
) -> Floats:
    """Return the thickness [h, w], at most 1, of blots and dots of blood all over the field."""
    extent = severity * visibility
    num_blots = int(np.ceil(extent * stream.integers(6, 22)))
    num_dots = int(np.ceil(extent * stream.integers(18, 50)))
    # A blot is a handful of overlapping disks.
    sizes = 0.010 + 0.020 * stream.random(num_blots) ** 2
    parts = 9
    offsets = stream.standard_normal((num_blots, parts, 2)) * np.array([0.75, 0.6])
    blots = _scatter(num_blots, stream)[:, None] + offsets * sizes[:, None, None]
    blot_radii = np.repeat(sizes, parts) * (0.4 + 0.5 * stream.random(num_blots * parts))
    dots = _scatter(num_dots, stream)
    dot_radii = 0.0045 + 0.004 * stream.random(num_dots)
    return _stamp_all(
        np.concatenate([blots.reshape(-1, 2), dots]),
        np.concatenate([blot_radii, dot_radii]),
        field,
        weight=visibility,
    )


def cover_with_exudates(light: Floats, opacity: Floats) -> None:
    """Blend `light` [3, h, w] in place with the color of exudates."""
    touched = np.flatnonzero(opacity)
    share = opacity.ravel()[touched]
    for channel in range(3):
        plane = light[channel].reshape(-1)
        plane[touched] += (np.float32(_EXUDATE_COLOR[channel]) - plane[touched]) * share


def cover_with_blood(light: Floats, thickness: Floats) -> None:
    """Darken `light` [3, h, w] in place by what blood absorbs."""
    touched = np.flatnonzero(thickness)
    density = thickness.ravel()[touched]
    for channel in range(3):
        light[channel].reshape(-1)[touched] *= np.exp(np.float32(-_BLOOD[channel]) * density)


def _scatter(count: int, stream: Generator) -> Points:
    """Return points [count, 2] uniform on the disk of radius 0.85."""
    radius = 0.85 * np.sqrt(stream.random(count))
    angle = stream.uniform(-np.pi, np.pi, count)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _stamp_all(
    centers: Points, radii: NDArray[np.float64], field: Field, *, weight: float
) -> Floats:
    """Return the strength [h, w], at most `weight`, of round spots soft at their edges."""
    sizes = np.maximum(1.25 * radii * field.radius_px, 0.8).astype(np.float32)
    weights = np.full(len(sizes), weight, np.float32)
    drawn = stamp(field.shape, Marks(field.to_px(centers), sizes, weights), profile="soft")
    # Neither blood nor fat gets thicker toward the middle of a spot: flatten the bells.
    return np.minimum(np.float32(1.6) * drawn, np.float32(weight))
