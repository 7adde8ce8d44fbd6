import numpy as np
import pytest
import torch

from retfm_dist.evaluate.encode.handcrafted import FEATURE_NAMES, handcrafted_features
from tests.fakes.evaluation import draw_disc


def batch(*images):
    return torch.stack(
        [torch.from_numpy(np.array(image).transpose(2, 0, 1).copy()) for image in images]
    )


def feature(name, images):
    return handcrafted_features(images)[:, FEATURE_NAMES.index(name)]


def test_the_colors_of_a_flat_image_are_its_features():
    flat = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert feature("red_mean", flat).item() == pytest.approx(200 / 255)
    assert feature("blue_q50", flat).item() == pytest.approx(50 / 255)
    assert feature("green_std", flat).item() == pytest.approx(0, abs=1e-6)
    assert feature("band_4px_std", flat).item() == pytest.approx(0, abs=1e-6)


def test_what_lies_outside_the_field_of_view_does_not_count():
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, 16:48, 16:48] = 120
    assert feature("green_mean", image).item() == pytest.approx(120 / 255)


def test_brightness_and_texture_are_seen():
    rng = np.random.default_rng(0)
    dark, bright = draw_disc(rng, bright=False), draw_disc(rng, bright=True)
    means = feature("red_q75", batch(dark, bright))
    assert means[1] > means[0]
    smooth = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    rough = smooth + torch.from_numpy(rng.integers(0, 60, (1, 3, 64, 64)).astype(np.uint8))
    assert feature("band_1px_std", rough) > 10 * feature("band_1px_std", smooth) + 0.01


@pytest.mark.parametrize("value", [0, 255])
def test_degenerate_images_give_finite_features(value):
    found = handcrafted_features(torch.full((2, 3, 64, 64), value, dtype=torch.uint8))
    assert found.shape == (2, len(FEATURE_NAMES))
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


def test_images_do_not_influence_each_other():
    rng = np.random.default_rng(0)
    images = batch(*(draw_disc(rng, bright=bool(i % 2)) for i in range(4)))
    together = handcrafted_features(images)
    alone = torch.cat([handcrafted_features(image[None]) for image in images])
    assert torch.equal(together, alone)
