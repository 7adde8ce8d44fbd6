"""From the bytes of a photograph to the square around its field of view."""

from dataclasses import dataclass

from PIL import Image

from retfm_dist.image.crop import crop_field_of_view
from retfm_dist.image.field_of_view import FieldOfView, find_field_of_view
from retfm_dist.image.pixels import as_image, four_channels
from retfm_dist.image.read import decode_image


@dataclass(frozen=True)
class Square:
    """A photograph cut down to its field of view.

    Attributes:
        image: RGB square, black outside the field of view, at the photograph's
            resolution.
        field_of_view: Where the retina is in the photograph.
        source_height: Height of the upright photograph, px.
        source_width: Width of the upright photograph, px.
    """

    image: Image.Image
    field_of_view: FieldOfView
    source_height: int
    source_width: int


def read_square(data: bytes) -> Square:
    """Decode a photograph and cut it down to its field of view.

    Args:
        data: A whole JPEG, PNG or TIFF file.

    Raises:
        FieldOfViewError: Nothing in the picture looks like a retina.
        ImageError: The bytes cannot be decoded.
    """
    photograph = decode_image(data)
    field_of_view = find_field_of_view(as_image(four_channels(photograph)))
    square = crop_field_of_view(photograph, field_of_view)
    return Square(square, field_of_view, *photograph.shape[:2])
