import numpy as np
import pytest

from retfm_dist.synth.draw.lesions import (
    cover_with_blood,
    cover_with_exudates,
    draw_exudates,
    draw_hemorrhages,
)
from retfm_dist.synth.streams import Purpose


def exudates(anatomy, field, stream, **extent):
    return draw_exudates(anatomy, field, **extent, stream=stream(Purpose.LESIONS))


def hemorrhages(field, stream, **extent):
    return draw_hemorrhages(field, **extent, stream=stream(Purpose.LESIONS))


@pytest.mark.parametrize("severity", [0.5, 1.0])
def test_lesions_are_small_spots_between_0_and_1(anatomy, field, stream, severity):
    extent = {"severity": severity, "visibility": 1.0}
    for spots in (exudates(anatomy, field, stream, **extent), hemorrhages(field, stream, **extent)):
        assert 0 <= spots.min() <= spots.max() <= 1
        assert 0 < (spots > 0.05).mean() < 0.2


def test_what_is_less_visible_covers_less(anatomy, field, stream):
    for draw in (lambda **e: exudates(anatomy, field, stream, **e), lambda **e: hemorrhages(field, stream, **e)):  # fmt: skip
        plain, faint = (draw(severity=0.8, visibility=v).sum() for v in (1.0, 0.3))
        assert 0 < faint < plain


def test_exudates_are_yellow_and_blood_is_dark_where_they_are_and_nowhere_else(light, gray):
    mask = np.zeros(light.shape[1:], light.dtype)
    mask[40:50, 60:70] = 1
    yellow, dark = gray(light), gray(light)
    cover_with_exudates(yellow, mask)
    cover_with_blood(dark, mask)
    spot = mask > 0
    assert yellow[0][spot].mean() > yellow[2][spot].mean()
    assert dark[1][spot].max() < 0.5
    for picture in (yellow, dark):
        assert np.all(picture[:, ~spot] == 0.5)
