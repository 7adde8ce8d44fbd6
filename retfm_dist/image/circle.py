"""Robust fit of a circle to boundary points with many outliers.

Pure numpy, no randomness: candidate circles run through triples of points spread around the
outline, the one that most points support is refined by least squares on its supporters.
"""

from dataclasses import dataclass

import numpy as np

_NUM_STARTS = 24
_SPREADS = ((1 / 8, 1 / 4), (1 / 6, 1 / 3), (1 / 4, 1 / 2), (1 / 3, 2 / 3), (1 / 5, 3 / 5))
_NUM_BINS = 36
_NUM_REFINEMENTS = 6
_OUTSIDE_WEIGHT = 0.5


@dataclass(frozen=True)
class CircleFit:
    """A circle and how well the outline supports it.

    Attributes:
        center_y: Row of the center, px, continuous (pixel i spans [i, i + 1]).
        center_x: Column of the center, px, continuous.
        radius: Radius, px.
        support: Share of the outline's points that lie on the circle.
        coverage: Share of the 36 sectors of 10 degrees in which a point lies on the circle.
    """

    center_y: float
    center_x: float
    radius: float
    support: float
    coverage: float


def fit_circle(points: np.ndarray, *, min_radius: float, max_radius: float) -> CircleFit | None:
    """Fit one circle to the points.

    Args:
        points: [N, 2] rows and columns, float, px.
        min_radius: Smallest radius considered, px.
        max_radius: Largest radius considered, px.

    Returns:
        The best supported circle; None where no triple of points gives an admissible one.
    """
    candidates = _candidate_circles(points)
    admissible = (candidates[:, 2] >= min_radius) & (candidates[:, 2] <= max_radius)
    candidates = candidates[admissible]
    if not len(candidates):
        return None
    # [C, N] signed distance of every point from every candidate
    residuals = _distances(points, candidates[:, None, :2]) - candidates[:, 2:]
    tolerances = _tolerance(candidates[:, 2:])
    votes = (np.abs(residuals) < tolerances).sum(axis=1)
    # The true outline holds everything bright, so points far outside speak against a circle.
    outside = (residuals > 2 * tolerances).sum(axis=1)
    circle = _refine(points, candidates[np.argmax(votes - _OUTSIDE_WEIGHT * outside)])
    if not min_radius <= circle[2] <= max_radius:
        return None
    return _describe(points, circle)


def _candidate_circles(points: np.ndarray) -> np.ndarray:
    """Return [C, 3] circles (row, column, radius) through triples spread around the outline."""
    center = points.mean(axis=0)
    ring = points[np.argsort(np.arctan2(*(points - center).T), kind="stable")]
    starts = (np.arange(_NUM_STARTS) * len(ring)) // _NUM_STARTS
    steps = (np.array(_SPREADS) * len(ring)).astype(np.int64)
    first, second, third = (
        ring[(starts[:, None] + offset) % len(ring)].reshape(-1, 2)
        for offset in (np.zeros(len(steps), np.int64), steps[:, 0], steps[:, 1])
    )
    # The center is equally far from all three: two linear equations in its coordinates.
    along, across = second - first, third - first
    determinant = 2 * (along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0])
    along_sq, across_sq = (along**2).sum(axis=1), (across**2).sum(axis=1)
    valid = np.abs(determinant) > 1e-6
    divisor = np.where(valid, determinant, 1.0)
    shift_y = (across[:, 1] * along_sq - along[:, 1] * across_sq) / divisor
    shift_x = (along[:, 0] * across_sq - across[:, 0] * along_sq) / divisor
    circles = np.stack(
        [first[:, 0] + shift_y, first[:, 1] + shift_x, np.hypot(shift_y, shift_x)], axis=1
    )
    return circles[valid]


def _refine(points: np.ndarray, circle: np.ndarray) -> np.ndarray:
    """Move a circle to the least squared distance from the points that lie on it (Gauss-Newton)."""
    for _ in range(_NUM_REFINEMENTS):
        distances = _distances(points, circle[:2])
        near = np.abs(distances - circle[2]) < _tolerance(circle[2])
        if near.sum() < 3:
            break
        directions = (points[near] - circle[:2]) / distances[near, None]
        jacobian = np.column_stack([directions, np.ones(len(directions))])
        step, *_ = np.linalg.lstsq(jacobian, distances[near] - circle[2], rcond=None)
        circle = circle + step
    return circle


def _describe(points: np.ndarray, circle: np.ndarray) -> CircleFit:
    """Measure how much of the outline lies on the circle, and around how much of it."""
    near = np.abs(_distances(points, circle[:2]) - circle[2]) < _tolerance(circle[2])
    angles = np.arctan2(*(points[near] - circle[:2]).T)
    sectors = np.floor((angles + np.pi) / (2 * np.pi) * _NUM_BINS).astype(np.int64) % _NUM_BINS
    return CircleFit(
        center_y=float(circle[0]),
        center_x=float(circle[1]),
        radius=float(circle[2]),
        support=float(near.mean()),
        coverage=len(np.unique(sectors)) / _NUM_BINS,
    )


def _distances(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    offsets_y = points[:, 0] - centers[..., 0]
    offsets_x = points[:, 1] - centers[..., 1]
    return np.sqrt(offsets_y * offsets_y + offsets_x * offsets_x)  # np.hypot is 3 times slower


def _tolerance(radius: np.ndarray) -> np.ndarray:
    """How far off the circle a point may lie: a pixel, or 0.8 % of a large radius."""
    return np.maximum(1.0, 0.008 * radius)
