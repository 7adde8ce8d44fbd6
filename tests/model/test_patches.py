import jaxtyping
import pytest
import torch

from retfm_dist.errors import ModelError
from retfm_dist.model.patches import PatchProjection, patchify, standardize_patches, unpatchify


def test_a_patch_lists_its_pixels_in_reading_order_colors_together():
    images = torch.arange(3 * 4 * 4).reshape(1, 3, 4, 4)
    patches = patchify(images, patch_size=2)
    assert patches.shape == (1, 4, 12)
    # Patch 1 is the upper right: pixels (0,2), (0,3), (1,2), (1,3); a channel is 16 further on.
    assert patches[0, 1].tolist() == [2, 18, 34, 3, 19, 35, 6, 22, 38, 7, 23, 39]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(("side", "patch_size"), [(32, 8), (28, 7), (16, 16), (6, 1)])
def test_joining_undoes_cutting(dtype, side, patch_size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, side, side), generator=generator).to(dtype)
    patches = patchify(images, patch_size=patch_size)
    assert patches.dtype == dtype
    assert patches.shape == (2, (side // patch_size) ** 2, patch_size**2 * 3)
    assert torch.equal(unpatchify(patches, patch_size=patch_size), images)


def test_a_side_that_does_not_divide_is_refused():
    with pytest.raises(ModelError, match="cannot be cut into patches; got side 30 px, expected a"):
        patchify(torch.zeros(1, 3, 30, 30), patch_size=8)


@pytest.mark.parametrize("shape", [(1, 15, 192), (1, 16, 191)])
def test_patches_of_no_square_image_are_refused(shape):
    with pytest.raises(
        ModelError, match="do not make a square image; got 1. patches of 19. values"
    ):
        unpatchify(torch.zeros(shape), patch_size=8)


def test_standardized_patches_have_zero_mean_and_unit_unbiased_variance():
    patches = torch.rand(2, 3, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = standardize_patches(patches)
    torch.testing.assert_close(result.mean(-1), torch.zeros(2, 3, dtype=torch.float64))
    variance = result.square().sum(-1) / 47
    expected = patches.var(-1) / (patches.var(-1) + 1e-6)
    torch.testing.assert_close(variance, expected)


def test_projecting_patches_is_the_convolution_of_the_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 24, 24, dtype=torch.float64, generator=generator)
    projection = PatchProjection(3, 10, kernel_size=8, stride=8).double()
    expected = torch.nn.functional.conv2d(images, projection.weight, projection.bias, stride=8)
    result = projection(patchify(images, patch_size=8))
    torch.testing.assert_close(result, expected.flatten(2).transpose(1, 2))


def test_shapes_in_signatures_are_checked_in_tests():
    with pytest.raises(jaxtyping.TypeCheckError, match="patchify"):
        patchify(torch.zeros(1, 3, 32, 24), patch_size=8)
