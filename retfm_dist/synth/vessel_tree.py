"""Grow the retinal vessels: arcades and nasal trunks from the disc, two generations of branches.

Each vessel is a polyline whose heading turns smoothly from its first to its last direction, with
a few sine waves on top (tortuosity). Branches leave at 30 to 60 degrees and are thinner than
their parent; temporal ones bend toward the macula, stop at its avascular center and at the
horizontal raphe, which no vessel of the upper half crosses to the lower.
Generations are grown as arrays [V, P, 2]: V vessels of P points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retfm_dist.synth.streams import EyeDraws

Array = NDArray[np.float64]

_AVASCULAR_RADIUS = 0.075
_VEIN_RADIUS = 0.0118
_ARTERY_RADIUS = 0.0088
_MIN_RADIUS = 0.0012
# Most of a vessel's turn is done in its first half, the rest along all of it.
_BEND_RATIO = 0.5
_DRIFT = 0.25

# first heading and last heading (degrees; 90 is up, 180 temporal), length, half (1 up, -1 down,
# 0 any), radius relative to the main trunks; one artery and one vein are grown for each row.
_TRUNKS = np.array(
    [
        (108.0, 196.0, 2.2, 1, 1.00),  # superior temporal arcade
        (-108.0, -198.0, 2.2, -1, 1.00),  # inferior temporal arcade
        (72.0, 38.0, 1.3, 1, 0.74),  # superior nasal
        (-72.0, -40.0, 1.3, -1, 0.74),  # inferior nasal
        (96.0, 128.0, 1.5, 1, 0.55),  # second superior trunk
        (-98.0, -130.0, 1.5, -1, 0.55),  # second inferior trunk
        (14.0, 8.0, 0.9, 0, 0.42),  # nasal
        (158.0, 176.0, 0.50, 0, 0.30),  # macular twig above
        (-160.0, -178.0, 0.50, 0, 0.30),  # macular twig below
    ]
)


@dataclass(frozen=True, eq=False)
class Generation:
    """Vessels of one order of branching, as polylines relative to the disc's center.

    Attributes:
        points: [V, P, 2], unit: radius of the field of view.
        radii: [V, P], the same unit; 0 from where a vessel has ended.
        headings: [V, P] direction in radians.
        is_artery: [V].
        half: [V] 1 for vessels of the upper half, -1 of the lower, 0 of neither.
    """

    points: Array
    radii: Array
    headings: Array
    is_artery: NDArray[np.bool_]
    half: Array


VesselTree = tuple[Generation, ...]
"""Trunks, branches, twigs."""


@dataclass(frozen=True)
class _Courses:
    """What shapes vessels: each [V], `starts` [V, 2]; angles in radians."""

    starts: Array
    headings: Array
    turns: Array
    lengths: Array
    radii: Array
    taper: float
    wiggle: float
    num_points: int


def grow_vessels(draws: EyeDraws, *, fovea: Array, origin_x: float) -> VesselTree:
    """Grow one eye's tree.

    Args:
        draws: Random numbers, correlated with those of the fellow eye.
        fovea: [2], relative to the disc's center.
        origin_x: How far nasally of the disc's center the trunks emerge.
    """
    trunks = _grow_trunks(draws, fovea=fovea, origin_x=origin_x)
    branches = _branch(
        draws, trunks, fovea=fovea, per_parent=9, num_points=32, lengths=(0.45, 1.25)
    )
    twigs = _branch(draws, branches, fovea=fovea, per_parent=3, num_points=14, lengths=(0.25, 0.8))
    return trunks, branches, twigs


def _grow_trunks(draws: EyeDraws, *, fovea: Array, origin_x: float) -> Generation:
    first, last, lengths, half, thickness = _TRUNKS.T
    rows = len(_TRUNKS)
    # An artery and its vein share their course and part by a few degrees.
    shared = np.stack([draws.normals(rows) * 5, draws.normals(rows) * 7])
    apart = np.where(draws.uniforms(rows) < 0.5, 1, -1) * (7 + 4 * draws.uniforms(rows))
    is_artery = np.repeat([True, False], rows)
    sign = np.where(is_artery, 1, -1)
    headings = np.tile(first + shared[0], 2) + sign * np.tile(apart, 2)
    finals = np.tile(last + shared[1], 2) + draws.normals(2 * rows) * 4 + sign * 3
    radius = np.where(is_artery, _ARTERY_RADIUS, _VEIN_RADIUS)
    starts = np.stack(
        [origin_x + 0.010 * draws.normals(2 * rows), 0.022 * np.tile(np.sign(first), 2)], axis=1
    )
    courses = _Courses(
        starts=starts + 0.012 * draws.normals(2 * rows, 2),
        headings=np.deg2rad(headings),
        turns=np.deg2rad(finals - headings),
        lengths=np.tile(lengths, 2),
        radii=radius * np.tile(thickness, 2) * np.exp(0.10 * draws.normals(2 * rows)),
        taper=0.68,
        wiggle=0.17,
        num_points=60,
    )
    return _trace(draws, courses, is_artery=is_artery, half=np.tile(half, 2), fovea=fovea)


def _branch(
    draws: EyeDraws,
    parents: Generation,
    *,
    fovea: Array,
    per_parent: int,
    num_points: int,
    lengths: tuple[float, float],
) -> Generation:
    """Grow `per_parent` branches of each parent, on alternating sides."""
    num_parents, parent_points = parents.radii.shape
    shape = (num_parents, per_parent)
    shares = (np.arange(per_parent) + draws.uniforms(*shape)) / per_parent
    parent = np.repeat(np.arange(num_parents), per_parent)
    point = np.clip((0.10 + 0.86 * shares.ravel()) * parent_points, 1, parent_points - 1).astype(
        int
    )
    alive = parents.radii[parent, point] > 1.9 * _MIN_RADIUS
    parent, point = parent[alive], point[alive]
    count = alive.size
    side = np.where(np.arange(count) % 2 == 0, 1, -1) * np.where(draws.uniforms(count) < 0.8, 1, -1)
    angle = np.clip(0.75 + 0.22 * draws.normals(count), 0.3, 1.3)
    share = 0.42 + 0.36 * draws.uniforms(count)
    reach = lengths[0] + (lengths[1] - lengths[0]) * draws.uniforms(count) ** 1.4
    pull = 0.35 + 0.5 * draws.uniforms(count)
    starts = parents.points[parent, point]
    headings = parents.headings[parent, point] + (side * angle)[alive]
    courses = _Courses(
        starts=starts,
        headings=headings,
        turns=_steer(starts, headings, fovea=fovea) * pull[alive],
        lengths=reach[alive] * np.clip(parents.radii[parent, point] / _VEIN_RADIUS, 0.3, 1),
        radii=parents.radii[parent, point] * share[alive],
        taper=0.62,
        wiggle=0.34,
        num_points=num_points,
    )
    return _trace(
        draws, courses, is_artery=parents.is_artery[parent], half=parents.half[parent], fovea=fovea
    )


def _steer(starts: Array, headings: Array, *, fovea: Array) -> Array:
    """Return the turn [V] toward the macula where a branch sets out to it, else outward."""
    to_fovea = fovea - starts
    toward = np.arctan2(to_fovea[:, 1], to_fovea[:, 0])
    inward = np.cos(headings - toward) > 0
    goal = np.where(inward, toward, toward + np.pi)
    return (goal - headings + np.pi) % (2 * np.pi) - np.pi


def _trace(
    draws: EyeDraws,
    courses: _Courses,
    *,
    is_artery: NDArray[np.bool_],
    half: Array,
    fovea: Array,
) -> Generation:
    """Integrate headings into points, end vessels where they must, and taper them."""
    along = np.linspace(0, 1, courses.num_points)
    bend = np.clip(along / _BEND_RATIO, 0, 1)
    bend = (1 - _DRIFT) * bend * bend * (3 - 2 * bend) + _DRIFT * along
    headings = courses.headings[:, None] + courses.turns[:, None] * bend
    headings = headings + _tortuosity(draws, courses, along)
    step = courses.lengths[:, None, None] / (courses.num_points - 1)
    moves = step * np.stack([np.cos(headings), np.sin(headings)], axis=2)
    moves[:, 0] = 0
    points = courses.starts[:, None] + np.cumsum(moves, axis=1)
    alive = _is_allowed(points, half=half, fovea=fovea)
    reach = np.maximum(alive.sum(axis=1), 1)[:, None] / courses.num_points
    radii = courses.radii[:, None] * (1 - courses.taper * np.minimum(along / reach, 1))
    radii = np.where(alive & (radii > 0.5 * _MIN_RADIUS), np.maximum(radii, _MIN_RADIUS), 0.0)
    return Generation(points, radii, headings, is_artery, half)


def _tortuosity(draws: EyeDraws, courses: _Courses, along: Array) -> Array:
    """Return heading waves [V, P] of three wavelengths, 0 at the start."""
    count = len(courses.lengths)
    phases = 2 * np.pi * draws.uniforms(count, 3)
    heights = courses.wiggle * np.abs(draws.normals(count, 3)) * np.array([1.0, 0.8, 0.5])
    cycles = courses.lengths[:, None] * np.array([1.4, 3.1, 7.0])
    angle = 2 * np.pi * cycles[:, :, None] * along + phases[:, :, None]
    waves = np.sin(angle) - np.sin(phases)[:, :, None] * np.exp(-8 * along)
    return (heights[:, :, None] * waves).sum(axis=1)


def _is_allowed(points: Array, *, half: Array, fovea: Array) -> NDArray[np.bool_]:
    """Return whether [V, P] lies before the first forbidden point of its vessel."""
    away = points - fovea
    near_center = (away**2).sum(axis=2) < _AVASCULAR_RADIUS**2
    temporal = points[:, :, 0] < -0.16
    crossed = temporal & (half[:, None] * away[:, :, 1] < 0) & (half[:, None] != 0)
    return np.logical_and.accumulate(~(near_center | crossed), axis=1)
