"""Fixed 2-D sine-cosine position embeddings."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def sincos_table(grid: int, *, dim: int) -> Float64[Tensor, "tokens dim"]:
    """Compute the position table of a square grid of patches and a class token.

    Row 0 belongs to the class token and is zero. The row of the patch in line y and column x is
    [sin(x w), cos(x w), sin(y w), cos(y w)] with w_i = 10000 ** (-i / (dim / 4)).

    Args:
        grid: Patches per side of the image.
        dim: Width of the table, a multiple of 4.

    Returns:
        float64 [1 + grid * grid, dim], patches in reading order.

    Source: He et al. 2022, arXiv:2111.06377, section A.1; Vaswani et al. 2017, arXiv:1706.03762,
        section 3.5. The column comes first, as in the published tables.
    """
    frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    line = torch.arange(grid, dtype=torch.float64)
    columns, rows = line.repeat(grid), line.repeat_interleave(grid)
    patches = torch.cat([_waves(columns, frequencies), _waves(rows, frequencies)], dim=1)
    return torch.cat([torch.zeros(1, dim, dtype=torch.float64), patches])


def _waves(
    coordinates: Float[Tensor, " L"], frequencies: Float[Tensor, " F"]
) -> Float[Tensor, "L twice_F"]:
    """Return the sines, then the cosines, of every coordinate at every frequency."""
    angles = torch.outer(coordinates, frequencies)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
