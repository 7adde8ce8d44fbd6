"""Random masking: which patches of an image the encoder sees."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor


class PatchSplit(NamedTuple):
    """The patches of each image, divided into kept and removed ones.

    Attributes:
        ids_keep: int64 [B, K] indices of the patches the encoder sees, by rising noise.
        ids_removed: int64 [B, L - K] indices of the others, by rising noise.
    """

    ids_keep: Tensor
    ids_removed: Tensor


def split_patches(noise: Float[Tensor, "B L"], *, num_kept: int) -> PatchSplit:
    """Keep the patches of smallest noise.

    Args:
        noise: [B, L] one number per patch; of equal ones the earlier patch counts as smaller, on
            every device.
        num_kept: Patches kept per image, K.

    Returns:
        The indices of both parts.

    Source: He et al. 2022, arXiv:2111.06377, section 3 (random sampling without replacement).
    """
    order = noise.argsort(dim=1, stable=True)
    return PatchSplit(ids_keep=order[:, :num_kept], ids_removed=order[:, num_kept:])


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
