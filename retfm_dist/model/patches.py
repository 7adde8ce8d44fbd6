"""Images to rows of patches and back, and from patches to tokens.

A patch is the row of its pixels in reading order, the three colors of a pixel side by side:
element (row * patch_size + column) * 3 + channel. Patches follow each other in reading order too.
"""

from math import isqrt

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from retfm_dist.errors import ModelError


def patchify(images: Shaped[Tensor, "B 3 S S"], *, patch_size: int) -> Shaped[Tensor, "B L pixels"]:
    """Cut square images into patches.

    Args:
        images: [B, 3, S, S], any dtype.
        patch_size: Side of a patch, px; divides S.

    Returns:
        [B, L, patch_size * patch_size * 3] with L = (S / patch_size) ** 2, same dtype.

    Raises:
        ModelError: `patch_size` does not divide S.

    Source: He et al. 2022, arXiv:2111.06377; element order of the published decoder head.
    """
    batch_size, _, side, _ = images.shape
    if side % patch_size:
        raise ModelError(
            "the image cannot be cut into patches",
            got=f"side {side} px",
            expected=f"a multiple of patch_size {patch_size}",
        )
    grid = side // patch_size
    # [B, 3, grid, p, grid, p] -> [B, grid, grid, p, p, 3]
    cut = images.reshape(batch_size, 3, grid, patch_size, grid, patch_size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch_size, grid * grid, patch_size**2 * 3)


def unpatchify(
    patches: Shaped[Tensor, "B L pixels"], *, patch_size: int
) -> Shaped[Tensor, "B 3 S S"]:
    """Join patches into square images; undoes `patchify`.

    Args:
        patches: [B, L, patch_size * patch_size * 3], any dtype; L is a square number.
        patch_size: Side of a patch, px.

    Returns:
        [B, 3, S, S] with S = patch_size * sqrt(L), same dtype.

    Raises:
        ModelError: L is not a square number, or the patches are not of `patch_size`.
    """
    batch_size, num_patches, num_values = patches.shape
    grid = isqrt(num_patches)
    if grid**2 != num_patches or num_values != patch_size**2 * 3:
        raise ModelError(
            "the patches do not make a square image",
            got=f"{num_patches} patches of {num_values} values",
            expected=f"a square number of patches of {patch_size**2 * 3} values",
        )
    # [B, grid, grid, p, p, 3] -> [B, 3, grid, p, grid, p]
    cut = patches.reshape(batch_size, grid, grid, patch_size, patch_size, 3)
    side = grid * patch_size
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(batch_size, 3, side, side)


def standardize_patches(
    patches: Float[Tensor, "*batch pixels"],
) -> Float[Tensor, "*batch pixels"]:
    """Give each patch zero mean and unit variance, the target of `norm_pix_loss`.

    Args:
        patches: [..., P] normalized pixels, float32 or wider.

    Returns:
        (patch - mean) / sqrt(variance + 1e-6) with the unbiased variance over all P values, the
        colors together.

    Source: He et al. 2022, arXiv:2111.06377, section 3; unbiased variance and epsilon as published.
    """
    mean, std = patch_statistics(patches)
    return (patches - mean) / std


def patch_statistics(
    patches: Float[Tensor, "*batch pixels"],
) -> tuple[Float[Tensor, "*batch 1"], Float[Tensor, "*batch 1"]]:
    """Return the mean and sqrt(unbiased variance + 1e-6) of each patch, [..., 1] each."""
    mean = patches.mean(dim=-1, keepdim=True)
    variance = patches.var(dim=-1, keepdim=True, correction=1)
    return mean, (variance + 1e-6).sqrt()


class PatchProjection(nn.Conv2d):
    """The patch embedding's convolution, applied to patches that are already cut out.

    A convolution whose stride is its kernel is one matrix product per patch. The parameters stay
    those of a convolution, [D, 3, p, p], as in the published checkpoints.
    """

    def forward(self, input: Float[Tensor, "B K P"]) -> Float[Tensor, "B K D"]:
        """Project [B, K, p * p * 3] patches to [B, K, D]."""
        # [D, 3, p, p] -> [D, p * p * 3], the element order of `patchify`.
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(input, weight, self.bias)
