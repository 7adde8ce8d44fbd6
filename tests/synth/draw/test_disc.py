import numpy as np

from retfm_dist.synth.draw.disc import blend_disc


def test_the_disc_is_painted_in_one_small_place_and_is_bright(anatomy, field, light, gray):
    painted = gray(light)
    blend_disc(painted, anatomy, field)
    changed = (painted != 0.5).any(axis=0)
    assert 0.001 < changed.mean() < 0.1
    rows, columns = np.nonzero(changed)
    assert np.ptp(rows) < 0.4 * light.shape[1]
    assert np.ptp(columns) < 0.4 * light.shape[2]
    assert painted[0][changed].mean() > 0.5
