import itertools

import numpy as np
import pytest

from retfm_dist.synth.streams import EyeDraws, PatientKey, Purpose, open_stream

KEY = PatientKey(seed=5, site=0, number=12)


def test_the_same_key_gives_the_same_numbers():
    first = open_stream(KEY, Purpose.VESSELS, eye="left").random(8)
    again = open_stream(KEY, Purpose.VESSELS, eye="left").random(8)
    np.testing.assert_array_equal(first, again)


def test_every_seed_patient_eye_and_purpose_has_its_own_stream():
    drawn = {
        float(open_stream(PatientKey(seed, site, number), purpose, eye=eye).random())
        for seed, site, number in itertools.product((0, 1, 2**63 - 1), (0, 1), (0, 1, 255, 65536))
        for eye in (None, "left", "right")
        for purpose in Purpose
    }
    assert len(drawn) == 3 * 2 * 4 * 3 * len(Purpose)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 1.0])
def test_fellow_eyes_correlate_as_asked(correlation):
    left, right = (
        EyeDraws(KEY, Purpose.ANATOMY, eye=eye, correlation=correlation).normals(20_000)
        for eye in ("left", "right")
    )
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(correlation, abs=0.02)
    assert left.std() == pytest.approx(1, abs=0.02)


def test_uniforms_fill_their_range():
    draws = EyeDraws(KEY, Purpose.ANATOMY, eye="left", correlation=0.5)
    drawn = draws.uniforms(20_000)
    np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)
    assert all(3 < draws.uniform(3, 4) < 4 for _ in range(100))
