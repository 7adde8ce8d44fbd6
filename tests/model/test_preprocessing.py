"""Mirrors retfm_dist/model/preprocessing.py."""

import torch

from retfm_dist.model.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    denormalize_pixels,
    normalize_pixels,
)


def every_pixel():
    return torch.arange(256, dtype=torch.uint8)[:, None].expand(-1, 3)


def test_all_values_are_those_of_torchvisions_transforms():
    from torchvision.transforms import v2

    steps = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )
    expected = steps(every_pixel().T[:, :, None])[:, :, 0].T
    torch.testing.assert_close(normalize_pixels(every_pixel(), dtype=torch.float32), expected)


def test_every_pixel_comes_back():
    for dtype in (torch.float32, torch.float64):
        values = normalize_pixels(every_pixel(), dtype=dtype)
        assert values.dtype == dtype
        assert torch.equal(denormalize_pixels(values), every_pixel())


def test_values_out_of_range_are_clipped():
    values = torch.tensor([[-100.0, 0.0, 100.0]])
    assert denormalize_pixels(values).tolist() == [[0, 116, 255]]
