"""Views of pixels: the same values, and no copy where none is needed."""

import numpy as np

from retfm_dist.image.pixels import as_image, brightest, darkest, four_channels

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_three_channels_are_copied_into_four():
    wide = four_channels(PIXELS)
    np.testing.assert_array_equal(wide[..., :3], PIXELS)
    assert wide.shape == (5, 7, 4)


def test_a_view_of_four_channels_is_not_copied():
    wide = four_channels(PIXELS)
    assert four_channels(wide[..., :3]) is wide
    assert four_channels(wide[1:, :, :3]).base is not wide


def test_an_image_looks_at_the_array():
    wide = four_channels(PIXELS)
    image = as_image(wide)
    assert (image.mode, image.size) == ("RGB", (7, 5))
    np.testing.assert_array_equal(np.asarray(image), PIXELS)


def test_brightest_and_darkest_channels():
    np.testing.assert_array_equal(brightest(PIXELS), PIXELS.max(axis=2))
    np.testing.assert_array_equal(darkest(PIXELS), PIXELS.min(axis=2))


def test_operations_see_three_channels():
    wide = four_channels(np.full((8, 8, 3), 90, np.uint8))
    for image in (
        as_image(wide).reduce(2),
        as_image(wide).resize((3, 3)),
        as_image(wide).crop((1, 1, 4, 4)),
    ):
        assert image.mode == "RGB"
        assert np.unique(np.asarray(image)).tolist() == [90]
