"""Find the jump that a large shift leaves in a picture, black surround and burnt-out light too."""

import numpy as np

from retfm_dist.image.block_steps import BlockSteps, window_sums

_MIN_JUMP = 30.0  # levels of 255
_MIN_JUMPING = 0.9
_MAX_JUMPING_BESIDE = 0.3
_MIN_BESIDE = 0.03
_SCREENED = 8  # one block of so many
_MIN_JUMPING_SCREENED = 0.35


def has_jump(found: BlockSteps) -> bool:
    """Whether all blocks jump from one on, in raster order, for the width of the picture.

    The jump is one row of blocks lower to the left of where it begins. A black bar or a
    straight edge of the picture has no such step, unless it begins at a side.
    """
    columns = found.num_columns
    if not _may_jump(found):
        return False
    for jumps in (found.below - found.above, found.above - found.below):
        hits = (jumps >= _MIN_JUMP).astype(np.float32)
        sums = window_sums(hits, columns)
        for channel in np.flatnonzero(sums.max(axis=0) >= _MIN_JUMPING * columns):
            start = int(np.argmax(sums[:, channel]))
            left = start % columns
            before = hits[start - left : start, channel]
            after = hits[start + columns : start - left + 2 * columns, channel]
            beside = np.concatenate([before, after])
            margin = max(2.0, _MIN_BESIDE * columns)
            if (
                margin <= left <= columns - margin
                and beside.mean() < _MAX_JUMPING_BESIDE
                and _jumps(hits[start : start - left + columns, channel])
                and _jumps(hits[start - left + columns : start + columns, channel])
            ):
                return True
    return False


def _may_jump(found: BlockSteps) -> bool:
    """Whether some row of blocks has half of the jumps, by a look at a few of its blocks."""
    above, below = (
        side.reshape(-1, found.num_columns, 3)[:, ::_SCREENED]
        for side in (found.above, found.below)
    )
    jumps = below - above
    return any(
        (hits.mean(axis=1) >= _MIN_JUMPING_SCREENED).any()
        for hits in (jumps >= _MIN_JUMP, jumps <= -_MIN_JUMP)
    )


def _jumps(hits: np.ndarray) -> bool:
    return bool(hits.mean() >= _MIN_JUMPING)
