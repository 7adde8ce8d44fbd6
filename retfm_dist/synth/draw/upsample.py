"""Enlarge smooth fields by a whole factor: cubic convolution, phase by phase."""

# Smooth fields are computed on a coarse grid. An imaging library's resize would spend most of its
# time on copies in and out.

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def upsample(values: Floats, factor: int, *, shape: tuple[int, int]) -> Floats:
    """Return values [h, w] enlarged by `factor`, cut to `shape`.

    Coarse pixel (0, 0) covers the fine pixels from 0 to factor - 1 both ways.

    Args:
        values: [h, w].
        factor: 1 or more.
        shape: Rows at most h * factor, columns at most w * factor.
    """
    wide = _upsample_rows(np.ascontiguousarray(values.T), factor)[: shape[1]]
    return _upsample_rows(np.ascontiguousarray(wide.T), factor)[: shape[0]]


def _upsample_rows(values: Floats, factor: int) -> Floats:
    """Return [n * factor, w] from [n, w]; the first and last row continue beyond the border."""
    count, width = values.shape
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    enlarged = np.empty((count, factor, width), np.float32)
    for phase in range(factor):
        place = (phase + 0.5) / factor - 0.5
        before = -1 if place < 0 else 0
        row = enlarged[:, phase]
        row[...] = 0
        for tap, weight in enumerate(_cubic_weights(place - before)):
            if weight != 0:
                first = 1 + before + tap
                row += np.float32(weight) * padded[first : first + count]
    return enlarged.reshape(count * factor, width)


def _cubic_weights(t: float) -> tuple[float, float, float, float]:
    """Return the weights of the neighbors at -1, 0, 1, 2 for a place t in [0, 1).

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing", a = -1/2.
    """
    return (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
