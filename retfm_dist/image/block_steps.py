"""Steps between the rows of blocks of a decoded JPEG, and how its blocks lie."""

from dataclasses import dataclass

import numpy as np

from retfm_dist.image.pixels import brightest, four_channels

# Rows of pixels at which a step is measured, relative to the first row below it. Where blocks
# meet, two rows on each side are skipped, over which decoders smooth subsampled color.
STEP_ROWS = (-5, -2, 1, 4)
# Within blocks of 8 rows those would reach across the next border; their color is not smoothed.
_ROWS_IN_LOW_BLOCKS = (-3, -1, 1, 3)
_LOW_BLOCK = 8
_MIN_BLOCKS = 12
_MIN_ROWS = 8
_MIN_COVER = 0.3
_MAX_STEP = 12.0
_MAX_SAMPLED_COLUMNS = 400
_DARKEST, _BRIGHTEST = 14, 250
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

    def fits(self, pixels: np.ndarray) -> bool:
        """Whether a picture has enough rows and columns of blocks for a verdict."""
        num_rows, num_columns = len(pixels) / self.height, pixels.shape[1] // self.width
        return num_rows > _MIN_ROWS + 1 and num_columns >= _MIN_BLOCKS


@dataclass(frozen=True)
class BlockSteps:
    """Steps above the blocks of all rows but the first and the last, in raster order.

    Attributes:
        num_columns: Blocks in a row, C.
        above: [N, 3] Red, green and blue above, levels of 255.
        below: [N, 3] The same below.
        counts: [N] Whether a step counts: black surround and burnt-out light hide a shift.
        steps: [N, 3] From above to below in Y, Cb and Cr, without what the picture does anyway
            on both sides; 0 where none counts.
        means: [N - C + 1, 3] Mean over the C blocks of a row's width from each block on; 0 where
            too few of them count.
    """

    num_columns: int
    above: np.ndarray
    below: np.ndarray
    counts: np.ndarray
    steps: np.ndarray
    means: np.ndarray

    def largest(self, channel: int) -> tuple[slice, float]:
        """Return the blocks of the largest mean step in a channel, and the median step of them."""
        start = int(np.argmax(np.abs(self.means[:, channel])))
        window = slice(start, start + self.num_columns)
        return window, float(np.median(self.steps[window, channel][self.counts[window]]))


def measure_steps(pixels: np.ndarray, layout: BlockLayout, *, between: bool = False) -> BlockSteps:
    """Measure the steps where rows of blocks meet, or halfway between.

    Args:
        pixels: uint8 [H, W, 3], red green blue.
        layout: Its blocks.
        between: Measure in the middle of the blocks.
    """
    rows = np.arange(layout.height, len(pixels) - layout.height, layout.height)
    rows += layout.height // 2 if between else 0
    offsets = _ROWS_IN_LOW_BLOCKS if between and layout.height == _LOW_BLOCK else STEP_ROWS
    wide = four_channels(pixels)
    far_above, above, below, far_below = (
        _block_means(wide, rows + offset, layout.width) for offset in offsets
    )
    counts = can_show(above, below)
    steps = below - above - (far_below - below + above - far_above) / 2
    steps = to_ycc(steps) * counts[:, None]
    num_columns = pixels.shape[1] // layout.width
    covers = window_sums(counts[:, None].astype(np.float32), num_columns)
    is_covered = covers >= max(_MIN_COVER * num_columns, _MIN_BLOCKS)
    # A few large steps, at the edge of a vessel or the disc, do not make a mean.
    sums = window_sums(np.clip(steps, -_MAX_STEP, _MAX_STEP), num_columns)
    means = sums / np.maximum(covers, 1) * is_covered
    return BlockSteps(num_columns, above, below, counts, steps, means)


def _block_means(wide: np.ndarray, rows: np.ndarray, width: int) -> np.ndarray:
    """Return [N, 3] the means over the blocks' width of rows of pixels with four channels."""
    num_columns = wide.shape[1] // width
    wanted = min(width // 2, wide.shape[1] // _MAX_SAMPLED_COLUMNS)
    stride = max(step for step in (1, 2, 4, 8) if step <= max(wanted, 1))  # divides the width
    # Whole rows of four channels first: picking from them at once is five times slower.
    lines = wide[rows][:, : num_columns * width]
    blocks = lines.reshape(len(rows) * num_columns, width, 4)
    total = blocks[:, 0, :3].astype(np.uint16)
    for column in range(stride, width, stride):
        total += blocks[:, column, :3]
    return total.astype(np.float32) / (width // stride)


def can_show(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Whether colors, [..., 3], are neither black nor burnt out, which would hide a shift."""
    lower, upper = brightest(np.minimum(above, below)), brightest(np.maximum(above, below))
    return (lower > _DARKEST) & (upper < _BRIGHTEST)


def to_ycc(colors: np.ndarray) -> np.ndarray:
    """Return red, green and blue, float32 [N, 3], as Y, Cb and Cr."""
    # Not a matrix product: its last bit, and so a verdict, would depend on the processor.
    red, green, blue = np.ascontiguousarray(colors.T)
    return np.stack([red * r + green * g + blue * b for r, g, b in _TO_YCC], axis=1)


def window_sums(values: np.ndarray, length: int) -> np.ndarray:
    """Return the sums of every `length` consecutive rows of `values`."""
    sums = np.concatenate([np.zeros((1, values.shape[1]), values.dtype), np.cumsum(values, axis=0)])
    return sums[length:] - sums[:-length]
