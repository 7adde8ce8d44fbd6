import io

import numpy as np
import pytest
from PIL import Image

from retfm_dist.errors import FieldOfViewError, ImageError
from retfm_dist.image.crop import crop_field_of_view
from retfm_dist.image.field_of_view import find_field_of_view
from retfm_dist.image.square import read_square
from tests.fakes.discs import draw_disc


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_photograph_becomes_the_square_around_its_circle():
    photograph = draw_disc()
    square = read_square(png(photograph))
    field = find_field_of_view(photograph)
    assert square.field_of_view == field
    assert (square.source_height, square.source_width) == (300, 400)
    expected = crop_field_of_view(np.asarray(photograph), field).convert("RGB")
    assert np.array_equal(square.image.convert("RGB"), expected)
    assert square.image.width == square.image.height


def test_what_cannot_be_decoded_and_what_shows_no_retina_are_told_apart():
    with pytest.raises(FieldOfViewError, match="no field of view: the image is uniform"):
        read_square(png(Image.new("RGB", (64, 64))))
    with pytest.raises(ImageError) as caught:
        read_square(b"text")
    assert not isinstance(caught.value, FieldOfViewError)
