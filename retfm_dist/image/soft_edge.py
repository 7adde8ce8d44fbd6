"""Where the rim of a blurred field of view is.

A low threshold finds dim rims, and follows a blurred one outward: to where the light has faded to
a twentieth. The rim itself is where the light has fallen by half, which blur does not move.
"""

import numpy as np
from scipy import ndimage

_NUM_ANGLES = 180
_INWARD_PX = 18
_OUTWARD_PX = 8
_PLATEAU_PX = 5
_MIN_ANGLES = 20
# A sharp rim falls by half within a pixel of the circle: only a soft one lies further inside.
_SHARP_PX = 2.0


def find_soft_edge(
    brightness: np.ndarray, center_y: float, center_x: float, radius: float
) -> float:
    """Return the radius at which a soft rim has fallen to half of its height.

    Args:
        brightness: [H, W] float.
        center_y: Row of the center, px, continuous (pixel i spans [i, i + 1]).
        center_x: Column of the center, px, continuous.
        radius: Radius of the circle found, px.

    Returns:
        The radius, px: that of the circle where its rim is sharp, or where the frame leaves too
        little of it to judge.
    """
    angles = np.arange(_NUM_ANGLES) * (2 * np.pi / _NUM_ANGLES)
    offsets = np.arange(-_INWARD_PX, _OUTWARD_PX + 1.0)
    distances = radius + offsets[:, None]
    # [D, A] places, in the coordinates of pixel centers
    rows = center_y + distances * np.sin(angles) - 0.5
    columns = center_x + distances * np.cos(angles) - 0.5
    height, width = brightness.shape
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    seen = inside.all(axis=0)
    if seen.sum() < _MIN_ANGLES:
        return radius
    samples = ndimage.map_coordinates(brightness, [rows[:, seen], columns[:, seen]], order=1)
    # The median over the angles: vessels, text and a dark side do not speak for the rim.
    profile = np.median(samples, axis=1)
    half = (profile[:_PLATEAU_PX].max() + profile[-_PLATEAU_PX:].min()) / 2
    below = int(np.argmax(profile < half))
    if below == 0:
        return radius
    above = profile[below - 1]
    shift = offsets[below - 1] + (above - half) / (above - profile[below])
    return float(radius + shift) if shift < -_SHARP_PX else radius
