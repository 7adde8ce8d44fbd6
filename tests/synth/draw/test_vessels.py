from retfm_dist.synth.draw.vessels import absorb_vessels


def test_vessels_only_absorb_and_most_in_green(anatomy, field, light, gray):
    seen = gray(light)
    absorb_vessels(seen, anatomy, field)
    loss = 0.5 - seen
    assert loss.min() >= -1e-6
    vessels = loss.max(axis=0) > 0.02
    assert 0.01 < vessels.mean() < 0.4
    assert loss[1][vessels].mean() > loss[0][vessels].mean()
