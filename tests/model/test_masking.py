import pytest
import torch

from retfm_dist.model.masking import (
    ORDERS,
    join_patches,
    removal_mask,
    split_patches,
    take_patches,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_kept", [1, 29, 49, 195])
def test_the_patches_of_smallest_noise_are_kept(dtype, num_kept):
    noise = torch.rand(5, 196, dtype=dtype, generator=torch.Generator().manual_seed(0))
    split = split_patches(noise, num_kept=num_kept)
    mask = removal_mask(split)
    assert (mask.sum(1) == 196 - num_kept).all()
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    largest_kept = noise.masked_fill(mask == 1, -1).amax(1)
    smallest_removed = noise.masked_fill(mask == 0, 2).amin(1)
    assert (largest_kept < smallest_removed).all()
    assert torch.equal(
        take_patches(noise.unsqueeze(-1), split.ids_keep).amax(1)[:, 0], largest_kept
    )


def removed(name, *, side, num_images=4000):
    """[B, side, side] masks of the share that MAE removes."""
    draw = torch.Generator().manual_seed(4)
    noise = torch.randint(0, 2**24, (num_images, side**2), generator=draw) * 2.0**-24
    split = split_patches(ORDERS[name](noise), num_kept=side**2 // 4)
    return removal_mask(split).view(num_images, side, side)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("side", [7, 14])
def test_every_mask_removes_as_many_and_each_patch_as_often(name, side):
    mask = removed(name, side=side)
    assert (mask.sum(dim=(1, 2)) == side**2 - side**2 // 4).all()
    share = mask.mean(dim=0)
    # An odd grid has units of fewer patches at its end, of which one is kept all the same.
    if name == "grid" and side % 2:
        share = share[:-1, :-1]
    assert (share - share.mean()).abs().max() < 5 * (0.25 * 0.75 / 4000) ** 0.5


def test_masks_differ_in_how_what_is_kept_lies_together():
    """The chance that the patch to the right of a kept one is kept, too."""
    together = {}
    for name in ORDERS:
        kept = 1 - removed(name, side=14)
        together[name] = ((kept[:, :, :-1] * kept[:, :, 1:]).sum() / kept[:, :, :-1].sum()).item()
    assert together["random"] == pytest.approx(48 / 195, abs=0.01)
    assert together["block"] > 0.55
    # Neighbors in different units may both be kept.
    assert together["grid"] < 0.15


def test_of_every_2_x_2_the_grid_keeps_one():
    kept = 1 - removed("grid", side=14)
    assert (kept.unflatten(2, (7, 2)).unflatten(1, (7, 2)).sum(dim=(2, 4)) == 1).all()


def test_the_two_parts_hold_each_patch_once():
    noise = torch.rand(4, 25, generator=torch.Generator().manual_seed(0))
    split = split_patches(noise, num_kept=6)
    together = torch.cat([split.ids_keep, split.ids_removed], dim=1)
    assert torch.equal(together.sort(dim=1).values, torch.arange(25).expand(4, -1))


def test_of_equal_noise_the_earlier_patch_is_kept():
    split = split_patches(torch.zeros(2, 196), num_kept=49)
    assert torch.equal(split.ids_keep, torch.arange(49).expand(2, -1))
    noise = torch.tensor([[0.5, 0.1, 0.5, 0.1, 0.5, 0.9]])
    split = split_patches(noise, num_kept=3)
    assert split.ids_keep.tolist() == [[1, 3, 0]]
    assert removal_mask(split).tolist() == [[0, 0, 1, 0, 1, 1]]


def test_each_image_has_its_own_mask():
    noise = torch.rand(2, 196, generator=torch.Generator().manual_seed(0))
    mask = removal_mask(split_patches(noise, num_kept=49))
    assert not torch.equal(mask[0], mask[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_joining_undoes_splitting(dtype):
    noise = torch.rand(3, 16, generator=torch.Generator().manual_seed(0))
    values = torch.arange(3 * 16 * 5).reshape(3, 16, 5).to(dtype)
    split = split_patches(noise, num_kept=4)
    kept, removed = (take_patches(values, ids) for ids in split)
    assert torch.equal(join_patches(split, kept, removed), values)
