import numpy as np

from retfm_dist.synth.draw.background import draw_background


def test_the_background_is_red_and_finite_and_the_same_for_the_same_stream(
    anatomy, field, stream, light
):
    assert light.shape[0] == 3
    assert np.isfinite(light).all()
    assert light[0].mean() > light[1].mean() > light[2].mean()
    assert light.min() > -0.5
    assert light.max() < 2.0
    assert np.array_equal(draw_background(anatomy, field, stream()), light)
