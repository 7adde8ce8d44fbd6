"""Photographs on disk: read once, cropped to the field of view, resized to the models' inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retfm_dist.errors import EvaluateError
from retfm_dist.image.square import read_square

Squares = Mapping[int, NDArray[np.uint8]]
"""uint8 [3, S, S] by side length S, px."""


@dataclass(frozen=True)
class Photograph:
    """A file to encode.

    Attributes:
        row: Row of its table.
        path: The file. Its name may name a patient, so messages use `where`.
        where: Table and row, for messages.
    """

    row: int
    path: Path
    where: str


def prepare_squares(data: bytes, sizes: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Crop a photograph to its field of view, and resize it to each side length.

    Args:
        data: A whole JPEG, PNG or TIFF file.
        sizes: Side lengths, px.

    Returns:
        Per side length S, uint8 [3, S, S].

    Raises:
        ImageError: The file is not a usable photograph.
    """
    square = read_square(data).image
    return {
        size: np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        for size in sizes
    }


def read_file(path: Path, *, where: str) -> bytes:
    """Return an image file's bytes.

    Args:
        path: The file.
        where: Names it in a message; file names may name patients.

    Raises:
        EvaluateError: The system refuses them. That is not a property of the image, so it ends the
            evaluation and is remembered nowhere.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvaluateError(
            "cannot read an image file",
            where=where,
            got=error.strerror,
            hint="retry once the storage is reachable; finished features are kept",
        ) from error
