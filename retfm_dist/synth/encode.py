"""Encode pictures as cameras and archives do: JPEG of three chroma samplings, PNG, TIFF."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retfm_dist.cohort.records import Eye
from retfm_dist.synth.streams import PatientKey, Purpose, open_stream

ImageFormat = Literal["jpg", "mixed"]
"""What a cohort's files are: all JPEG 4:2:0, or a mixture of all of `Codec`."""
Codec = Literal["jpeg_420", "jpeg_422", "jpeg_444", "png", "tiff"]

_SHARES: dict[Codec, float] = {
    "jpeg_420": 0.4,
    "jpeg_422": 0.1,
    "jpeg_444": 0.2,
    "png": 0.15,
    "tiff": 0.15,
}
_SUBSAMPLING = {"jpeg_444": 0, "jpeg_422": 1, "jpeg_420": 2}


def choose_codec(patient: PatientKey, eye: Eye, *, image_format: ImageFormat) -> Codec:
    """Return how the picture of an eye is stored."""
    if image_format == "jpg":
        return "jpeg_420"
    drawn = open_stream(patient, Purpose.CODEC, eye=eye).random()
    edges = np.cumsum(list(_SHARES.values()))
    return list(_SHARES)[min(int(np.searchsorted(edges, drawn, side="right")), len(_SHARES) - 1)]


def suffix_of(codec: Codec) -> str:
    """Return the file name's ending."""
    return {"png": ".png", "tiff": ".tif"}.get(codec, ".jpg")


def encode(picture: NDArray[np.uint8], codec: Codec, *, jpeg_quality: int) -> bytes:
    """Return the file of a picture [H, W, 3].

    Args:
        picture: Red, green, blue.
        codec: Kind of file.
        jpeg_quality: libjpeg's setting, 1 to 95; the lossless codecs need none.
    """
    image, file = Image.fromarray(picture), io.BytesIO()
    match codec:
        case "png":
            image.save(file, "PNG", compress_level=1)
        case "tiff":
            image.save(file, "TIFF", compression="tiff_lzw")
        case _:
            image.save(file, "JPEG", quality=jpeg_quality, subsampling=_SUBSAMPLING[codec])
    return file.getvalue()
