"""Find the seam that damaged JPEG data leave in a picture.

A JPEG block stores its mean as the difference from the block before. One wrong difference shifts
all blocks that follow, in raster order, by a constant, and no decoder can notice. The shift shows
as a step between two rows of blocks along the full width of the picture: from the damaged block
to the right, and one row of blocks lower from the left edge to that block.
"""

import numpy as np

from retfm_dist.image.block_steps import BlockLayout, BlockSteps, measure_steps
from retfm_dist.image.jump import has_jump
from retfm_dist.image.lasting import continues, is_line, lasts

# What makes a step a seam. Measured: none of 105 JPEG photographs, 1,260 re-encoded ones and 2,100
# drawn with straight vessels passes for one. The limits were chosen on these, on 1,890 photographs
# with bars or boxes drawn over, and on 1,397 garbled ones. With other draws on the same
# photographs, none of 4,200 with bars or boxes passes for a seam, and of 471 JPEGs that decode,
# garbled by flipped bits and holes so that they look wrong (mean difference above 3 of 255), 459
# are refused.
_MIN_STEPS = np.array([3.6, 2.0, 2.0], np.float32)  # luminance and color, levels of 255
_ROUNDING = 1.65  # times the quantization of the block means
_MIN_AGREEING = 0.8
_MAX_SPREAD = 0.3
_MIN_RATIO = 1.25
_MIN_OUTSTANDING = 3.0


def has_seam(pixels: np.ndarray, layout: BlockLayout) -> bool:
    """Whether a decoded JPEG shows the shift that a damaged block mean leaves.

    Args:
        pixels: uint8 [H, W, 3], red green blue.
        layout: Its blocks.
    """
    if not layout.fits(pixels):
        return False
    found = measure_steps(pixels, layout)
    if has_jump(found):
        return True
    limits = _MIN_STEPS + _ROUNDING * np.array(layout.mean_steps, np.float32)
    suspects = np.flatnonzero((np.abs(found.means) > limits).any(axis=0))
    if not len(suspects):
        return False
    # A picture with such steps of its own has them between the rows of blocks as well.
    between = measure_steps(pixels, layout, between=True)
    usual = np.abs(between.means).max(axis=0)
    channels = suspects.tolist()
    # What the picture shows, such as a vessel along a row of blocks, steps in luminance and color
    # alike, and unevenly in one of them: then the others have to be very even.
    is_even = all(_is_seam(found, c, usual[c], max_spread=_MAX_SPREAD) for c in channels)
    max_spread = _MAX_SPREAD if is_even else _MAX_SPREAD * 0.67
    return any(
        _is_seam(found, c, usual[c], max_spread=max_spread)
        and continues(found, c)
        and lasts(pixels, layout, found, c)
        and not is_line(pixels, layout, found, c)
        for c in channels
    )


def _is_seam(found: BlockSteps, channel: int, usual: float, *, max_spread: float) -> bool:
    """Whether the largest step of a channel is unusual and the same all along."""
    window, middle = found.largest(channel)
    step = found.means[window.start, channel]
    single = found.steps[window, channel][found.counts[window]] / (middle or 1.0)
    # Damage is in a few places; a picture with a pattern of its own has steps at every row.
    everywhere = np.median(np.abs(found.means[:: found.num_columns, channel]))
    spread = np.median(np.abs(single - 1))
    return bool(
        abs(step) >= max(_MIN_RATIO * usual, _MIN_OUTSTANDING * everywhere)
        and np.mean(single > 0.4) >= _MIN_AGREEING
        and spread <= max_spread
    )
