"""What surrounds the field of view: white paper to be ignored, and strokes across the rim."""

import numpy as np
from scipy import ndimage

from retfm_dist.image.pixels import brightest, darkest

# White paper: bright in all channels, nearly without color, along most of the frame.
_PAPER_LEVEL = 170
_PAPER_COLOR = 50
_MIN_PAPER_EDGE = 0.5
_PAPER_MARGIN_PX = 2
# Strokes of burnt-in text: thin, brighter than what is around them by this much. Of 115 photographs
# none has such strokes on both sides of its rim, and all of 696 with a name across the rim do.
_STROKE_PX = 7
_STROKE_LEVEL = 50
_MIN_STROKE_PIXELS = 8
_REACH_PX = 4
# Bands in radii: the rim itself is thin and bright in many photographs.
_INNER_BAND = (0.75, 0.965)
_OUTER_BAND = (1.025, 1.35)


def find_paper(pixels: np.ndarray) -> np.ndarray:
    """Return [h, w] which pixels are white paper around a photograph: a scanned page, a border.

    Args:
        pixels: uint8 [h, w, 3], a small version of the photograph.
    """
    low, high = darkest(pixels), brightest(pixels)
    white = (low >= _PAPER_LEVEL) & (high - low <= _PAPER_COLOR)
    if _edge(white).mean() < _MIN_PAPER_EDGE:
        return np.zeros_like(white)
    regions, count = _label(white)
    at_edge = np.zeros(count + 1, bool)
    at_edge[_edge(regions)] = True
    at_edge[0] = False
    # Between paper and picture, pixels are a mixture of both.
    return ndimage.binary_dilation(at_edge[regions], iterations=_PAPER_MARGIN_PX)


def find_photograph(paper: np.ndarray) -> tuple[int, int, int, int]:
    """Return the rectangle of the photograph on its paper: top, left, bottom, right.

    Args:
        paper: [h, w] As `find_paper`; without any paper the rectangle is the whole.
    """
    if not paper.any():
        return 0, 0, *paper.shape
    regions, count = _label(~paper)
    if count == 0:
        return 0, 0, *paper.shape
    largest = int(np.argmax(np.bincount(regions.ravel())[1:]))
    rows, columns = ndimage.find_objects(regions)[largest]
    return rows.start, columns.start, rows.stop, columns.stop


def _edge(values: np.ndarray) -> np.ndarray:
    """Return the values along the frame."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected regions of a mask, corners included, from 1."""
    regions = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3)), output=regions)
    return regions, int(regions.max())


def has_strokes_across_rim(
    pixels: np.ndarray, center_y: float, center_x: float, radius: float
) -> bool:
    """Whether bright thin strokes, such as a burnt-in name, stand on both sides of the rim.

    What stands outside the circle is cut away; strokes across its rim stay legible inside.

    Args:
        pixels: uint8 [h, w, 3], a small version of the photograph.
        center_y: Row of the circle's center, px.
        center_x: Column of the circle's center, px.
        radius: Radius of the circle, px.
    """
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    distance = np.hypot(rows - center_y, columns - center_x) / radius
    is_outer = (distance > _OUTER_BAND[0]) & (distance < _OUTER_BAND[1])
    # A stroke is brighter than this itself; most surrounds are black throughout.
    if (brightest(pixels)[is_outer] > _STROKE_LEVEL).sum() < _MIN_STROKE_PIXELS:
        return False
    size = (_STROKE_PX, _STROKE_PX)
    strokes = np.zeros(distance.shape, bool)
    for channel in np.moveaxis(pixels, 2, 0):
        strokes |= channel - ndimage.grey_opening(channel, size=size) > _STROKE_LEVEL
    inside = strokes & (distance > _INNER_BAND[0]) & (distance < _INNER_BAND[1])
    outside = strokes & is_outer
    if min(inside.sum(), outside.sum()) < _MIN_STROKE_PIXELS:
        return False
    near = strokes & (distance > _INNER_BAND[0]) & (distance < _OUTER_BAND[1])
    words, count = _label(ndimage.binary_dilation(near, iterations=_REACH_PX))
    per_word = [np.bincount(words[part], minlength=count + 1)[1:] for part in (inside, outside)]
    return bool((np.minimum(*per_word) >= _MIN_STROKE_PIXELS).any())
