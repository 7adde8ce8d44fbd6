"""Find the seam that damaged JPEG data leave in a picture.

A JPEG block stores its mean as the difference from the block before. One wrong difference shifts
all blocks that follow, in raster order, by a constant, and no decoder can notice. The shift shows
as a step between two rows of blocks along the full width of the picture: from the damaged block
to the right, and one row of blocks lower from the left edge to that block.
"""

from dataclasses import dataclass

import numpy as np

from retfm_dist.image.pixels import brightest, four_channels

# Rows at which a step is measured, relative to the first row of the lower block: two rows on each
# side are skipped, over which decoders smooth subsampled color.
_FAR_ABOVE, _ABOVE, _BELOW, _FAR_BELOW = -5, -2, 1, 4
_DARKEST, _BRIGHTEST = 14, 250
_MAX_STEP = 12.0
_MIN_COVER = 0.3
_MIN_BLOCKS = 12
_MIN_ROWS = 8
_MAX_SAMPLED_COLUMNS = 400
# What makes a step a seam. Measured: none of 105 JPEG photographs and 1,260 re-encoded ones passes
# for one; of 1,606 JPEGs garbled by flipped bits and holes so that they look wrong, decoder and
# seam together find 1,525. A straight dark line along a row of blocks can deceive it.
_MIN_STEPS = np.array([3.6, 2.0, 2.0], np.float32)  # luminance and color, levels of 255
_ROUNDING = 1.65  # times the quantization of the block means
_MIN_AGREEING = 0.8
_MAX_SPREAD = 0.3
_MIN_RATIO = 1.25
_MIN_OUTSTANDING = 3.0
_MIN_LASTING = 0.15
_LASTING_ROWS = 3
_MIN_LASTING_WITHOUT_EDGE = 0.4
_START_SLACK = 3
_MIN_EDGE = 0.35
# ITU-T T.871 (JFIF), RGB to Y, Cb, Cr
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)


@dataclass(frozen=True)
class BlockLayout:
    """How a JPEG's blocks lie in its picture.

    Attributes:
        height: Height of the unit that is coded at a time (8 or 16), px.
        width: Its width, px.
        mean_steps: [3] Quantization of the block means of Y, Cb and Cr, in levels of 255.
    """

    height: int
    width: int
    mean_steps: tuple[float, float, float]


@dataclass(frozen=True)
class _Steps:
    """Steps above the blocks of all rows but the first, in raster order.

    Attributes:
        steps: [N, 3] in Y, Cb and Cr; 0 where none counts.
        counts: [N] Whether a step counts: black surround and burnt-out light hide a shift.
        means: [N - C + 1, 3] Mean over the C blocks of a row's width from each block on; 0 where
            too few of them count.
    """

    steps: np.ndarray
    counts: np.ndarray
    means: np.ndarray


def has_seam(pixels: np.ndarray, layout: BlockLayout) -> bool:
    """Whether a decoded JPEG shows the shift that a damaged block mean leaves.

    Args:
        pixels: uint8 [H, W, 3], red green blue.
        layout: Its blocks.
    """
    rows = np.arange(layout.height, len(pixels) - layout.height, layout.height)
    if len(rows) < _MIN_ROWS or pixels.shape[1] // layout.width < _MIN_BLOCKS:
        return False
    found = _measure(pixels, rows, layout)
    limits = _MIN_STEPS + _ROUNDING * np.array(layout.mean_steps, np.float32)
    suspects = np.flatnonzero((np.abs(found.means) > limits).any(axis=0))
    if not len(suspects):
        return False
    # A picture with such steps of its own has them between the rows of blocks as well.
    between = _measure(pixels, rows + layout.height // 2, layout)
    usual = np.abs(between.means).max(axis=0)
    channels = suspects.tolist()
    # What the picture shows, such as a vessel along a row of blocks, steps in luminance and color
    # alike, and unevenly in one of them: then the others have to be very even.
    is_even = all(_is_seam(found, c, usual[c], max_spread=_MAX_SPREAD) for c in channels)
    max_spread = _MAX_SPREAD if is_even else _MAX_SPREAD * 0.67
    return any(
        _is_seam(found, c, usual[c], max_spread=max_spread) and _lasts(pixels, layout, found, c)
        for c in channels
    )


def _is_seam(found: _Steps, channel: int, usual: float, *, max_spread: float) -> bool:
    """Whether the largest step of a channel is unusual and the same all along."""
    start, middle = _largest(found, channel)
    step = found.means[start, channel]
    width = len(found.steps) - len(found.means) + 1
    window = slice(start, start + width)
    single = found.steps[window, channel][found.counts[window]] / (middle or 1.0)
    # Damage is in a few places; a picture with a pattern of its own has steps at every row.
    everywhere = np.median(np.abs(found.means[::width, channel]))
    spread = np.median(np.abs(single - 1))
    return bool(
        abs(step) >= max(_MIN_RATIO * usual, _MIN_OUTSTANDING * everywhere)
        and np.mean(single > 0.4) >= _MIN_AGREEING
        and spread <= max_spread
    )


def _largest(found: _Steps, channel: int) -> tuple[int, float]:
    """Return the block where the largest mean step begins, and the median step along its row."""
    start = int(np.argmax(np.abs(found.means[:, channel])))
    width = len(found.steps) - len(found.means) + 1
    window = slice(start, start + width)
    return start, float(np.median(found.steps[window, channel][found.counts[window]]))


def _measure(pixels: np.ndarray, rows: np.ndarray, layout: BlockLayout) -> _Steps:
    """Measure the steps at the given rows of pixels."""
    num_columns = pixels.shape[1] // layout.width
    wanted = min(layout.width // 2, pixels.shape[1] // _MAX_SAMPLED_COLUMNS)
    stride = max(step for step in (1, 2, 4, 8) if step <= max(wanted, 1))  # divides the width

    wide = four_channels(pixels)

    def means(offset: int) -> np.ndarray:
        """Return [N, 3] the means over the blocks' width of one row of pixels each."""
        # Whole rows of four channels first: picking from them at once is five times slower.
        lines = wide[rows + offset][:, : num_columns * layout.width]
        blocks = lines.reshape(len(rows) * num_columns, layout.width, 4)
        total = blocks[:, 0, :3].astype(np.uint16)
        for column in range(stride, layout.width, stride):
            total += blocks[:, column, :3]
        return total.astype(np.float32) / (layout.width // stride)

    far_above, above, below, far_below = map(means, (_FAR_ABOVE, _ABOVE, _BELOW, _FAR_BELOW))
    counts = _counts(above, below)
    # What the picture does anyway on both sides is taken away.
    steps = below - above - (far_below - below + above - far_above) / 2
    steps = steps @ _TO_YCC.T * counts[:, None]
    covers = _window_sums(counts[:, None].astype(np.float32), num_columns)
    is_covered = covers >= max(_MIN_COVER * num_columns, _MIN_BLOCKS)
    # A few large steps, at the edge of a vessel or the disc, do not make a mean.
    sums = _window_sums(np.clip(steps, -_MAX_STEP, _MAX_STEP), num_columns)
    return _Steps(steps, counts, sums / np.maximum(covers, 1) * is_covered)


def _counts(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    lower, upper = brightest(np.minimum(above, below)), brightest(np.maximum(above, below))
    return (lower > _DARKEST) & (upper < _BRIGHTEST)


def _window_sums(values: np.ndarray, length: int) -> np.ndarray:
    """Return the sums of every `length` consecutive rows of `values`."""
    sums = np.concatenate([np.zeros((1, values.shape[1]), values.dtype), np.cumsum(values, axis=0)])
    return sums[length:] - sums[:-length]


def _lasts(pixels: np.ndarray, layout: BlockLayout, found: _Steps, channel: int) -> bool:
    """Whether a step is that of a shift, by what lies beyond its row of pixels."""
    lasting = _lasting_share(pixels, layout, found, channel)
    has_edge = _begins_with_edge(pixels, layout, found, channel)
    if has_edge is None:
        return lasting > _MIN_LASTING_WITHOUT_EDGE
    return has_edge and lasting > _MIN_LASTING


def _lasting_share(pixels: np.ndarray, layout: BlockLayout, found: _Steps, channel: int) -> float:
    """Return the step between the medians of the blocks on both sides, in shares of the step.

    A vessel or a line of text changes a few rows and not the medians; a shift lasts.
    """
    first_block, step = _largest(found, channel)
    num_columns = pixels.shape[1] // layout.width
    start = first_block + num_columns  # the first row of blocks has no step above
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
    counts = _counts(above, below)
    if not counts.any():
        return 0.0
    lasting = below - above - (sum(trends) / len(trends) if trends else 0)
    return float((lasting[counts] @ _TO_YCC.T).mean(axis=0)[channel]) / step


def _begins_with_edge(
    pixels: np.ndarray, layout: BlockLayout, found: _Steps, channel: int
) -> bool | None:
    """Whether the shift begins between two neighbors in a row of blocks, as damage does.

    Where it begins is known to a few blocks. None where it may begin at the frame or in a black
    surround, where nothing shows.
    """
    first_block, step = _largest(found, channel)
    num_columns = pixels.shape[1] // layout.width
    start = first_block + num_columns  # the first row of blocks has no step above
    edges = []
    for block in range(start - _START_SLACK, start + _START_SLACK + 1):
        row, column = divmod(block, num_columns)
        left = column * layout.width
        if column == 0 or left + _FAR_BELOW >= pixels.shape[1]:
            return None
        lines = pixels[row * layout.height : (row + 1) * layout.height]
        far_before, before, after, far_after = (
            lines[:, left + offset].astype(np.float32)
            for offset in (_FAR_ABOVE, _ABOVE, _BELOW, _FAR_BELOW)
        )
        counts = _counts(before, after)
        if counts.sum() < layout.height / 2:
            return None
        edge = after - before - (far_after - after + before - far_before) / 2
        edges.append(float(np.median(edge[counts] @ _TO_YCC[channel])))
    return max(edge * np.sign(step) for edge in edges) >= _MIN_EDGE * abs(step)
