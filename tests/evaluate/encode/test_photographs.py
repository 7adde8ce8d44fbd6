import pytest

from retfm_dist.errors import EvaluateError, ImageError
from retfm_dist.evaluate.encode.photographs import prepare_squares, read_file


def test_photographs_are_cropped_to_the_field_of_view_and_resized(photographs):
    squares = prepare_squares(photographs[0].path.read_bytes(), [32, 48])
    assert {size: square.shape for size, square in squares.items()} == {
        32: (3, 32, 32),
        48: (3, 48, 48),
    }
    assert squares[48][:, 24, 0].max() > 20, "the disc touches the edge"
    assert squares[48][:, 0, 0].max() == 0, "the corner is outside"


def test_a_file_that_is_not_a_photograph_is_an_error():
    with pytest.raises(ImageError, match="JPEG, PNG or TIFF"):
        prepare_squares(b"text", [32])


def test_what_the_system_refuses_is_said_without_the_name_of_the_file(tmp_path):
    with pytest.raises(
        EvaluateError, match="t.csv, row 3: cannot read an image file; got No such"
    ) as caught:
        read_file(tmp_path / "doe_jane.jpg", where="t.csv, row 3")
    assert "doe_jane" not in str(caught.value)
