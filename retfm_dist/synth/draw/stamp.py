"""Draw many small round marks at once: vessels, hemorrhages, exudates, drusen.

Each mark is evaluated with sub-pixel position and size on a small square of pixels; where marks
overlap the larger value stays. Cost is proportional to the pixels covered.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Profile = Literal["cylinder", "soft", "sharp"]

_REACH = {"cylinder": 1.0, "soft": 1.5, "sharp": 1.0}


@dataclass(frozen=True)
class Marks:
    """Round marks.

    Attributes:
        centers: [N, 2] x and y, px.
        radii: [N] px.
        weights: [N] value at a mark's center, at or above 0.
    """

    centers: Floats
    radii: Floats
    weights: Floats


def stamp(shape: tuple[int, int], marks: Marks, *, profile: Profile) -> Floats:
    """Return a field [H, W] of the marks' values, 0 where there is none.

    Args:
        shape: H and W.
        marks: What to draw; what lies outside the field is cut off.
        profile: "cylinder" is the light path through a blood vessel, "soft" a Gaussian of
            deviation radius / 2, "sharp" a plateau with an edge of one pixel.
    """
    reach = np.ceil(marks.radii * _REACH[profile] + 0.5).astype(np.intp)
    middles = np.rint(marks.centers).astype(np.intp)
    touching = np.all(
        (middles >= -reach[:, None]) & (middles < np.array(shape[::-1]) + reach[:, None]), axis=1
    )
    # A margin twice as wide as the largest mark's reach spares every pixel its bounds check.
    margin = 2 * int(reach.max(initial=0))
    width = shape[1] + 2 * margin
    padded = np.zeros((shape[0] + 2 * margin) * width, np.float32)
    for size in np.unique(reach[touching]):
        chosen = np.flatnonzero(touching & (reach == size))
        offsets = np.arange(-size, size + 1)
        # [side, n] signed distances from the marks' centers along x and y. Marks are the last
        # axis throughout, for numpy is quick only along long ones.
        fraction = (middles[chosen] - marks.centers[chosen]).T.astype(np.float32)
        across = fraction[0] + offsets[:, None].astype(np.float32)
        down = fraction[1] + offsets[:, None].astype(np.float32)
        squared = (down**2)[:, None] + (across**2)[None]
        values = _profile(squared, marks.radii[chosen], profile)
        values *= marks.weights[chosen]
        first = (middles[chosen, 1] + margin) * width + middles[chosen, 0] + margin
        cells = (offsets[:, None] * width + offsets)[:, :, None] + first
        np.maximum.at(padded, cells.ravel(), values.ravel())
    return padded.reshape(-1, width)[margin : margin + shape[0], margin : margin + shape[1]]


def _profile(squared: Floats, radii: Floats, profile: Profile) -> Floats:
    """Return values in [0, 1] for squared distances, px**2."""
    one = np.float32(1)
    if profile == "soft":
        floor = np.exp(np.float32(-2 * _REACH["soft"] ** 2))
        bell = np.exp(squared * (np.float32(-2) / radii**2)) - floor
        return np.maximum(bell, np.float32(0)).astype(np.float32, copy=False)
    if profile == "sharp":
        return np.clip(radii + np.float32(0.5) - np.sqrt(squared), np.float32(0), one)
    # A third of a pixel of blur widens and thins what is finer than a pixel.
    widened = radii**2 + np.float32(0.3)
    depth = np.sqrt(np.maximum(one - squared / widened, np.float32(0)))
    return (depth * (radii / np.sqrt(widened))).astype(np.float32, copy=False)
