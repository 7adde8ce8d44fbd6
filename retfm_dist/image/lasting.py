"""Tell a shift from what a photograph shows, by what lies beyond the pixels where it steps."""

import numpy as np

from retfm_dist.image.block_steps import STEP_ROWS, BlockLayout, BlockSteps, can_show, to_ycc

_LASTING_ROWS = 3
_MIN_LASTING = 0.15
_MAX_LASTING = 2.0
_MIN_LASTING_WITHOUT_EDGE = 0.4
_START_SLACK = 3
_MIN_EDGE = 0.35
_LINE_RETURNS = 0.3
_LEAST_LINE_PX = 6
_MIN_SLOPE = 0.45
_MIN_SPREAD_RATIO = 0.25


def lasts(pixels: np.ndarray, layout: BlockLayout, found: BlockSteps, channel: int) -> bool:
    """Whether a step is that of a shift, by what lies beyond its row of pixels."""
    lasting = _lasting_share(pixels, layout, found, channel)
    has_edge = _begins_with_edge(pixels, layout, found, channel)
    if has_edge is None:
        return _MIN_LASTING_WITHOUT_EDGE < lasting < _MAX_LASTING
    return has_edge and _MIN_LASTING < lasting < _MAX_LASTING


def _lasting_share(
    pixels: np.ndarray, layout: BlockLayout, found: BlockSteps, channel: int
) -> float:
    """Return the step between the medians of the blocks on both sides, in shares of the step.

    A vessel or a line of text changes a few rows and not the medians; a shift lasts.
    """
    window, step = found.largest(channel)
    num_columns = found.num_columns
    start = window.start + num_columns  # the first row of blocks has no step above
    first = max(start // num_columns - 2 * _LASTING_ROWS, 0)
    last = min(start // num_columns + 2 * _LASTING_ROWS + 1, len(pixels) // layout.height)
    part = pixels[first * layout.height : last * layout.height, : num_columns * layout.width]
    blocks = part.reshape(last - first, layout.height, num_columns, layout.width, 3)
    medians = np.median(blocks, axis=(1, 3)).reshape(-1, 3).astype(np.float32)
    origin = start - first * num_columns

    def side(offset: int) -> np.ndarray | None:
        """Return [C, 3] the medians of a few blocks above each other, `offset` such groups off."""
        begins = origin + (offset * _LASTING_ROWS + np.arange(_LASTING_ROWS)) * num_columns
        begins = begins[(begins >= 0) & (begins + num_columns <= len(medians))]
        if not len(begins):
            return None
        return np.median([medians[begin : begin + num_columns] for begin in begins], axis=0)

    above, below, far_above, far_below = side(-1), side(0), side(-2), side(1)
    if above is None or below is None:
        return 0.0
    trends = [
        *([above - far_above] if far_above is not None else []),
        *([far_below - below] if far_below is not None else []),
    ]
    counts = can_show(above, below)
    if not counts.any():
        return 0.0
    lasting = below - above - (sum(trends) / len(trends) if trends else 0)
    return float(to_ycc(lasting[counts])[:, channel].mean()) / step


def _begins_with_edge(
    pixels: np.ndarray, layout: BlockLayout, found: BlockSteps, channel: int
) -> bool | None:
    """Whether the shift begins between two neighbors in a row of blocks, as damage does.

    Where it begins is known to a few blocks. None where it may begin at the frame or in a black
    surround, where nothing shows.
    """
    window, step = found.largest(channel)
    num_columns = found.num_columns
    start = window.start + num_columns  # the first row of blocks has no step above
    edges = []
    for block in range(start - _START_SLACK, start + _START_SLACK + 1):
        row, column = divmod(block, num_columns)
        left = column * layout.width
        if column == 0 or left + STEP_ROWS[-1] >= pixels.shape[1]:
            return None
        lines = pixels[row * layout.height : (row + 1) * layout.height]
        far_before, before, after, far_after = (
            lines[:, left + offset].astype(np.float32) for offset in STEP_ROWS
        )
        counts = can_show(before, after)
        if counts.sum() < layout.height / 2:
            return None
        edge = after - before - (far_after - after + before - far_before) / 2
        edges.append(float(np.median(to_ycc(edge[counts])[:, channel])))
    return max(edge * np.sign(step) for edge in edges) >= _MIN_EDGE * abs(step)


def is_line(pixels: np.ndarray, layout: BlockLayout, found: BlockSteps, channel: int) -> bool:
    """Whether a step goes back within the height of a block, as at a vessel or a bar."""
    window, step = found.largest(channel)
    num_columns = found.num_columns
    row, left = divmod(window.start, num_columns)
    # The blocks lie in this row and, left of where they begin, in the next.
    rows = np.array([row + 1, row + 2]) * layout.height

    def blocks(offset: int) -> np.ndarray:
        """Return [C, 3] the means over the blocks' width, `offset` rows of pixels off."""
        lines = pixels[np.clip(rows + offset, 0, len(pixels) - 1), : num_columns * layout.width]
        return lines.reshape(-1, layout.width, 3)[left : left + num_columns].mean(axis=1)

    _, above, below, _ = STEP_ROWS
    for distance in range(_LEAST_LINE_PX, layout.height + 3, 2):
        for upper, lower in ((above, below + distance), (above - distance, below)):
            before, after = blocks(upper), blocks(lower)
            counts = found.counts[window] & can_show(before, after)
            if counts.sum() < found.counts[window].sum() / 2:
                continue
            remains = np.median(to_ycc((after - before)[counts])[:, channel])
            if remains / step < _LINE_RETURNS:
                return True
    return False


def continues(found: BlockSteps, channel: int) -> bool:
    """Whether the picture goes on across a step; at the edge of a bar or a page it does not.

    Both sides of a shift differ by a constant, so each follows from the other with slope 1, and
    most blocks vary alike: a drawn area is even, whatever else crosses it.
    """
    window, _ = found.largest(channel)
    counts = found.counts[window]
    above, below = (to_ycc(side[window][counts])[:, channel] for side in (found.above, found.below))
    covariance = ((above - above.mean()) * (below - below.mean())).mean()
    follows = covariance > _MIN_SLOPE * max(above.var(), below.var())
    spreads = sorted(np.median(np.abs(side - np.median(side))) for side in (above, below))
    return bool(follows and spreads[0] >= _MIN_SPREAD_RATIO * spreads[1])
