import numpy as np
import pytest
from PIL import Image

from retfm_dist.synth.draw.upsample import upsample


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_it_is_cubic_convolution(factor):
    values = np.random.default_rng(0).standard_normal((9, 13)).astype(np.float32)
    ours = upsample(values, factor, shape=(9 * factor, 13 * factor))
    size = (13 * factor, 9 * factor)
    theirs = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC))
    # Two coarse pixels in: at the border PIL renormalizes where we repeat the last row.
    inner = (slice(2 * factor, -2 * factor),) * 2
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-5)


def test_a_ramp_stays_a_ramp_inside_and_is_cut_to_the_shape():
    ramp = np.arange(10, dtype=np.float32)[:, None].repeat(8, axis=1)
    fine = upsample(ramp, 4, shape=(37, 30))
    assert fine.shape == (37, 30)
    places = (np.arange(37) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(fine[8:30, 5], places[8:30], atol=1e-5)


def test_a_constant_stays_constant_up_to_the_border():
    fine = upsample(np.full((5, 6), 3.5, np.float32), 4, shape=(20, 24))
    np.testing.assert_allclose(fine, 3.5, atol=1e-5)
