import numpy as np
from PIL import Image

from retfm_dist.image.field_of_view import find_field_of_view
from retfm_dist.synth.anatomy import sample_capture
from retfm_dist.synth.cohort import sample_quality
from retfm_dist.synth.draw.camera import take_picture
from retfm_dist.synth.streams import Purpose
from tests.synth.draw.conftest import KEY


def picture_of(light, anatomy, field, device, stream):
    capture = sample_capture(KEY, "right", quality=sample_quality(KEY, "right"))
    return take_picture(
        light.copy(), anatomy, capture, device=device, field=field, stream=stream(Purpose.NOISE)
    )


def test_a_picture_has_the_cameras_format_and_a_round_field(light, anatomy, field, device, stream):
    picture = picture_of(light, anatomy, field, device, stream)
    assert picture.dtype == np.uint8
    assert picture.shape == (160, round(160 * device.aspect_ratio), 3)
    assert picture[:6, :6].max() < 30, "the corner is dark"
    assert find_field_of_view(Image.fromarray(picture)).kind == "circle"


def test_the_same_light_gives_the_same_bytes(light, anatomy, field, device, stream):
    one, other = (picture_of(light, anatomy, field, device, stream) for _ in range(2))
    assert np.array_equal(one, other)
