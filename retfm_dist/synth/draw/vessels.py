"""Draw the vessel tree as the light that its blood takes away, and its bright central streak."""

import numpy as np
from numpy.typing import NDArray

from retfm_dist.synth.anatomy import Anatomy
from retfm_dist.synth.draw.field import Field
from retfm_dist.synth.draw.stamp import Marks, stamp
from retfm_dist.synth.vessel_tree import Generation

Floats = NDArray[np.float32]

# Optical density of a wide vessel, red green blue: oxygen makes arterial blood pass more red.
_VEIN_BLOOD = np.array([0.31, 0.80, 0.58])
_ARTERY_BLOOD = np.array([0.11, 0.60, 0.44])
_REFLEX_LIGHT = np.array([0.13, 0.22, 0.15])
# Vessels this wide absorb fully; finer ones let more of the background through.
_FULL_RADIUS = 0.0095
_REFLEX_MIN_RADIUS_PX = 1.2


def absorb_vessels(light: Floats, anatomy: Anatomy, field: Field) -> None:
    """Darken `light` [3, h, w] in place where vessels run."""
    veins = stamp(field.shape, _place_marks(anatomy, field, is_artery=False), profile="cylinder")
    marks = _place_marks(anatomy, field, is_artery=True)
    arteries = stamp(field.shape, marks, profile="cylinder")
    reflex = stamp(field.shape, _narrow_to_reflex(marks), profile="cylinder")
    touched = np.flatnonzero((veins > 0) | (arteries > 0))
    veins, arteries, reflex = (one.ravel()[touched] for one in (veins, arteries, reflex))
    for channel in range(3):
        density = np.float32(_VEIN_BLOOD[channel]) * veins
        density += np.float32(_ARTERY_BLOOD[channel]) * arteries
        density -= np.float32(_REFLEX_LIGHT[channel]) * reflex
        light[channel].reshape(-1)[touched] *= np.exp(-density)


def _narrow_to_reflex(arteries: Marks) -> Marks:
    """Return the streak of mirrored flash on those arteries that are wide enough to show it."""
    wide = arteries.radii > _REFLEX_MIN_RADIUS_PX
    radii = arteries.radii[wide]
    return Marks(
        centers=arteries.centers[wide],
        radii=np.maximum(0.36 * radii, 0.7).astype(np.float32),
        weights=np.clip(radii - _REFLEX_MIN_RADIUS_PX, 0, 1).astype(np.float32),
    )


def _place_marks(anatomy: Anatomy, field: Field, *, is_artery: bool) -> Marks:
    """Return overlapping marks along all vessels of one kind."""
    placed = [
        _place_along(generation, anatomy, field, is_artery=is_artery)
        for generation in anatomy.vessels
    ]
    return Marks(
        centers=np.concatenate([one.centers for one in placed]),
        radii=np.concatenate([one.radii for one in placed]),
        weights=np.concatenate([one.weights for one in placed]),
    )


def _place_along(vessels: Generation, anatomy: Anatomy, field: Field, *, is_artery: bool) -> Marks:
    """Return marks about half a radius apart along the polylines of one generation."""
    chosen = vessels.is_artery == is_artery
    disc = np.array([anatomy.disc.x, anatomy.disc.y])
    points = field.to_px(vessels.points[chosen] + disc)
    radii = (vessels.radii[chosen] * field.radius_px).astype(np.float32)
    start, end = points[:, :-1].reshape(-1, 2), points[:, 1:].reshape(-1, 2)
    first, last = radii[:, :-1].ravel(), radii[:, 1:].ravel()
    seen = np.flatnonzero((last > 0) & _is_near(start, field))
    start, end, first, last = start[seen], end[seen], first[seen], last[seen]
    # Marks lie where the running count of steps passes a whole number.
    count = np.hypot(*(end - start).T) / np.maximum(np.float32(0.6) * first, np.float32(0.9))
    count = count.astype(np.float64)
    passed = np.cumsum(count)
    num_marks = np.diff(np.floor(passed), prepend=0).astype(np.intp)
    segment = np.repeat(np.arange(len(count)), num_marks)
    behind = passed[segment] - (np.arange(len(segment)) + 1)
    along = (1 - behind / count[segment]).astype(np.float32)
    radius = first[segment] + along * (last - first)[segment]
    fill = np.minimum(radius / np.float32(_FULL_RADIUS * field.radius_px), 1)
    return Marks(
        centers=start[segment] + along[:, None] * (end - start)[segment],
        radii=radius,
        weights=fill ** np.float32(0.5),
    )


def _is_near(points: Floats, field: Field) -> NDArray[np.bool_]:
    """Return whether points [N, 2] px lie inside or just outside the box drawn."""
    margin = 0.06 * field.radius_px
    return np.all((points > -margin) & (points < np.array(field.shape[::-1]) + margin), axis=1)
