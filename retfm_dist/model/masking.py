"""Masking: which patches of an image the encoder sees.

Every mask is a function of the sample's noise alone, so that it depends on seed, epoch and sample
and on nothing else. Another one is another function in `ORDERS`.
"""

from collections.abc import Callable
from math import isqrt
from typing import Final, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn import functional


def random_order(noise: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Return the noise: any patches are kept."""
    return noise


def block_order(noise: Float[Tensor, "B L"]) -> Int64[Tensor, "B L"]:
    """Return the sum of the noise over the patches around each: kept and removed ones lie together.

    The window has a quarter of the grid's side and goes on at the opposite border, so that every
    patch is removed as often as any other.

    Args:
        noise: [B, L] multiples of 2**-24 in [0, 1), L a square number.
    """
    side = isqrt(noise.shape[1])
    # Whole numbers, because sums of them are the same on every device.
    total = (noise * 2.0**24).long().unflatten(1, (side, side))
    for dim in (1, 2):
        total = torch.stack([total.roll(shift, dim) for shift in range(max(side // 4, 2))]).sum(
            dim=0
        )
    return total.flatten(1)


def grid_order(noise: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Return the place of each patch among its 2 x 2, plus noise: all are thinned out alike.

    Args:
        noise: [B, L] in [0, 1), L a square number.
    """
    side = isqrt(noise.shape[1])
    # An odd side leaves units of one or two patches at its end; filled up with what comes last.
    grid = functional.pad(noise.unflatten(1, (side, side)), (0, side % 2, 0, side % 2), value=1.0)
    units = grid.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)
    places = units.argsort(dim=3, stable=True).argsort(dim=3, stable=True)
    places = places.unflatten(3, (2, 2)).transpose(2, 3).reshape(grid.shape)[:, :side, :side]
    return places.flatten(1).to(noise.dtype) + noise


ORDERS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "random": random_order,
    "block": block_order,
    "grid": grid_order,
}
"""`model.mask` -> function of the noise [B, L]; the patches of the smallest values are kept.

Source: He et al. 2022, arXiv:2111.06377, table 1 (f).
"""


class PatchSplit(NamedTuple):
    """The patches of each image, divided into kept and removed ones.

    Attributes:
        ids_keep: int64 [B, K] indices of the patches the encoder sees, by rising order.
        ids_removed: int64 [B, L - K] indices of the others, by rising order.
    """

    ids_keep: Tensor
    ids_removed: Tensor


def split_patches(order: Shaped[Tensor, "B L"], *, num_kept: int) -> PatchSplit:
    """Keep the patches of the smallest values.

    Args:
        order: [B, L] one number per patch; of equal ones the earlier patch counts as smaller, on
            every device.
        num_kept: Patches kept per image, K.

    Returns:
        The indices of both parts.

    Source: He et al. 2022, arXiv:2111.06377, section 3 (random sampling without replacement).
    """
    ids = order.argsort(dim=1, stable=True)
    return PatchSplit(ids_keep=ids[:, :num_kept], ids_removed=ids[:, num_kept:])


def removal_mask(split: PatchSplit, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "B L"]:
    """Return [B, L] of `dtype`: 1 where a patch was removed, 0 where it was kept."""
    num_patches = split.ids_keep.shape[1] + split.ids_removed.shape[1]
    mask = torch.ones(
        split.ids_keep.shape[0], num_patches, dtype=dtype, device=split.ids_keep.device
    )
    return mask.scatter_(1, split.ids_keep, 0.0)


def take_patches(
    values: Shaped[Tensor, "B L D"], ids: Int64[Tensor, "B K"]
) -> Shaped[Tensor, "B K D"]:
    """Take the rows `ids` of each image's [L, D] values, in the order of `ids`."""
    return values.gather(1, ids.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def join_patches(
    split: PatchSplit, kept: Shaped[Tensor, "B K D"], removed: Shaped[Tensor, "B M D"]
) -> Shaped[Tensor, "B L D"]:
    """Put kept and removed patches back in image order.

    Args:
        split: Indices of both parts.
        kept: [B, K, D] values of the kept patches, in the order of `split.ids_keep`.
        removed: [B, L - K, D] values of the removed ones, in the order of `split.ids_removed`.

    Returns:
        [B, L, D] in reading order.
    """
    values = torch.cat([kept, removed], dim=1)
    order = torch.cat([split.ids_keep, split.ids_removed], dim=1)
    index = order.unsqueeze(-1).expand_as(values)
    return torch.zeros_like(values).scatter(1, index, values)
