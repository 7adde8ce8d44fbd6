import numpy as np
import torch
from PIL import Image

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.reconstructions import first_inputs, write_png
from tests.fakes.training import FakeLoader, tiny_config

CPU = torch.device("cpu")


def test_the_first_images_are_those_of_step_0_and_no_more_than_wanted(tmp_path):
    config = tiny_config(tmp_path)
    loader = FakeLoader(config, Ranks())
    for wanted in (3, 8, 99):
        images, noise = first_inputs(loader, num_images=wanted, seed=1, num_patches=4, device=CPU)
        assert len(images) == len(noise) == min(wanted, 8)
    step = torch.cat([batch.images for batch in loader.batches(0, 1)])
    assert torch.equal(images, step)


def test_a_picture_is_a_png_of_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    write_png(tmp_path / "deep" / "x.png", pixels)
    with Image.open(tmp_path / "deep" / "x.png") as picture:
        assert picture.format == "PNG"
        assert np.array_equal(picture, pixels)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.png"]
