"""Find the round field of view of a fundus photograph.

The published preprocessing thresholds the gray image, cleans the mask, and takes center and
radius from it. This finds the same circle more robustly: the image is shrunk, thresholded at
several levels, and a circle is fitted to the outline of the largest bright region at each; the
level whose outline is most of a circle wins. An outline cut by the edges of the frame, a notch,
burnt-in text or a dark rim takes away some of the outline, not the circle.

Source: the steps published as AutoMorph (Zhou et al. 2022, doi 10.1167/tvst.11.7.12).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from retfm_dist.errors import FieldOfViewError
from retfm_dist.image.circle import CircleFit, fit_circle
from retfm_dist.image.pixels import brightest
from retfm_dist.image.soft_edge import find_soft_edge
from retfm_dist.image.surround import find_paper, find_photograph, has_strokes_across_rim

_WORKING_SIDE_PX = 512
# Levels between background (0) and bright retina (1) at which the mask is cut.
_LEVELS = (0.05, 0.1, 0.18, 0.3)
_OPENING_PX = 5
_MIN_CONTRAST = 12
_MIN_RADIUS_RATIO = 0.2
_MIN_SUPPORT = 0.35
_MIN_COVERAGE = 0.25
_FRAME_COVER = 0.85
_MIN_POINTS = 24

Kind = Literal["circle", "strokes", "frame"]


@dataclass(frozen=True)
class FieldOfView:
    """Where the retina is in a photograph.

    Attributes:
        center_y: Row of the circle's center, px of the photograph, continuous.
        center_x: Column of the circle's center, px, continuous.
        radius: Radius of the circle, px.
        kind: "circle" where a circular outline was found; "strokes" where one was, and bright
            strokes such as a burnt-in name cross it; "frame" where none was and the frame is
            filled, so that the circle goes around the corners and nothing is cut away.
        frame: Top, left, bottom, right of the photograph on the white page or in the white border
            around it, px; None where there is none.
    """

    center_y: float
    center_x: float
    radius: float
    kind: Kind
    frame: tuple[int, int, int, int] | None = None

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the part of the photograph that the circle touches: top, left, bottom, right.

        Args:
            height: Height of the photograph, px.
            width: Width of the photograph, px.
        """
        top, left, bottom, right = self.frame or (0, 0, height, width)
        return (
            max(round(self.center_y - self.radius), top),
            max(round(self.center_x - self.radius), left),
            min(round(self.center_y + self.radius), bottom),
            min(round(self.center_x + self.radius), right),
        )


def find_field_of_view(image: Image.Image) -> FieldOfView:
    """Find the field of view of a photograph.

    Args:
        image: RGB photograph of any size.

    Returns:
        The circle, in pixels of `image`.

    Raises:
        FieldOfViewError: The image is too small, has no contrast, or no round outline.
    """
    factor = max(1, math.ceil(max(image.size) / _WORKING_SIDE_PX))
    if min(image.size) < 16 * factor:
        raise FieldOfViewError(
            "no field of view: the image is too small or too narrow",
            got=f"{image.width} x {image.height} px",
        )
    small = np.asarray(image.reduce(factor))
    paper = find_paper(small)
    top, left, bottom, right = find_photograph(paper)
    found = _find_in(small[top:bottom, left:right], paper[top:bottom, left:right])
    frame = (
        top * factor,
        left * factor,
        min(bottom * factor, image.height),
        min(right * factor, image.width),
    )
    if found.kind == "frame":
        return _whole(frame, paper=bool(paper.any()))
    return FieldOfView(
        (found.center_y + top) * factor,
        (found.center_x + left) * factor,
        found.radius * factor,
        found.kind,
        frame if paper.any() else None,
    )


def _find_in(pixels: np.ndarray, paper: np.ndarray) -> FieldOfView:
    """Find the field of view of a small version of a photograph, in its pixels."""
    # The brightest channel is red in most retinas and shows dim rims that gray would lose.
    brightness = brightest(pixels).astype(np.float32)
    brightness[paper] = 0
    dark, bright = np.percentile(brightness, [1, 95])
    if bright - dark < _MIN_CONTRAST:
        raise FieldOfViewError(
            "no field of view: the image is uniform",
            got=f"a contrast of {bright - dark:.0f}",
            expected=f"at least {_MIN_CONTRAST} of 255",
        )
    masks = [_largest_region(brightness > dark + level * (bright - dark)) for level in _LEVELS]
    fits = [fit for mask in masks if (fit := _fit_outline(mask)) is not None]
    if fits:
        # Cubed: an outline that leaves the circle in places has followed a faint glow outside it,
        # which a larger covered share does not make good.
        best = max(fits, key=lambda fit: fit.support**3 * fit.coverage)
        center_y, center_x = best.center_y, best.center_x
        radius = find_soft_edge(brightness, center_y, center_x, best.radius)
        circle = (center_y, center_x, radius)
        return FieldOfView(
            *circle, "strokes" if has_strokes_across_rim(pixels, *circle) else "circle"
        )
    if masks[0].mean() >= _FRAME_COVER:
        return _whole((0, 0, *masks[0].shape), paper=False)
    raise FieldOfViewError("no field of view: nothing bright has a round outline")


def _whole(frame: tuple[int, int, int, int], *, paper: bool) -> FieldOfView:
    """Return the circle around the corners of a frame."""
    top, left, bottom, right = frame
    return FieldOfView(
        (top + bottom) / 2,
        (left + right) / 2,
        math.hypot(bottom - top, right - left) / 2,
        "frame",
        frame if paper else None,
    )


def _largest_region(mask: np.ndarray) -> np.ndarray:
    """Drop thin structures such as text, and all but the largest connected region."""
    # The gray opening runs along rows, then columns: ten times faster than the binary one.
    opened = ndimage.grey_opening(mask.view(np.uint8), size=(_OPENING_PX, _OPENING_PX)).view(bool)
    labels = np.zeros(mask.shape, np.int32)
    if ndimage.label(opened, output=labels) == 0:
        return opened
    sizes = np.bincount(labels.ravel())
    return labels == 1 + np.argmax(sizes[1:])


def _fit_outline(mask: np.ndarray) -> CircleFit | None:
    """Fit a circle to a mask's outline; None unless enough of the outline is round."""
    points = _outline(mask)
    if len(points) < _MIN_POINTS:
        return None
    shortest = min(mask.shape)
    fit = fit_circle(
        points,
        min_radius=_MIN_RADIUS_RATIO * shortest,
        max_radius=math.hypot(*mask.shape),
    )
    if fit is None or fit.support < _MIN_SUPPORT or fit.coverage < _MIN_COVERAGE:
        return None
    return fit


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return [N, 2] outermost edges of the mask along every row and column, px, continuous.

    Edges on the border of the frame are left out: there the frame cuts the field of view.
    """
    return np.concatenate([_row_ends(mask), _row_ends(mask.T)[:, ::-1]])


def _row_ends(mask: np.ndarray) -> np.ndarray:
    """Return [N, 2] (row, column) of the first and the last edge of every row's true pixels."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    ends = np.concatenate(
        [np.column_stack([rows + 0.5, first]), np.column_stack([rows + 0.5, last])]
    )
    inside = (ends[:, 1] > 1) & (ends[:, 1] < mask.shape[1] - 1)
    return ends[inside]
