"""Turn one photograph into what a shard holds of it. Runs in worker processes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retfm_dist.errors import FieldOfViewError, ImageError
from retfm_dist.image.crop import shrink
from retfm_dist.image.encode import difference_hash, encode_jpeg
from retfm_dist.image.field_of_view import FieldOfView
from retfm_dist.image.square import read_square

MAX_SOURCE_BYTES = 1 << 29
Stage = Literal["read", "decode", "field_of_view", "duplicate"]


@dataclass(frozen=True)
class PackTask:
    """One photograph to pack.

    Attributes:
        path: The source file.
        size: Side of the packed square, px, where the source is large enough.
        quality: JPEG quality, 1 to 100.
    """

    path: Path
    size: int
    quality: int


@dataclass(frozen=True)
class PackedImage:
    """A photograph, cropped, shrunk and encoded.

    Attributes:
        jpeg: Baseline JPEG of the cropped square.
        height: Its height, px.
        width: Its width, px.
        source_sha256: Hex digest of the source file.
        source_height: Height of the upright photograph, px.
        source_width: Width of the upright photograph, px.
        field_of_view: Where the retina is in the photograph.
        perceptual_hash: `difference_hash` of the cropped square.
    """

    jpeg: bytes
    height: int
    width: int
    source_sha256: str
    source_height: int
    source_width: int
    field_of_view: FieldOfView
    perceptual_hash: str


@dataclass(frozen=True)
class Rejection:
    """Why a photograph is left out; names no file.

    Attributes:
        stage: Step that failed.
        reason: One clause.
    """

    stage: Stage
    reason: str


def pack_image(task: PackTask) -> PackedImage | Rejection:
    """Read, check, crop, shrink and encode one photograph; a bad one becomes a `Rejection`."""
    try:
        num_bytes = task.path.stat().st_size
        if num_bytes > MAX_SOURCE_BYTES:
            return Rejection("read", f"the file is implausibly large, {num_bytes} bytes")
        data = task.path.read_bytes()
    except OSError as error:
        return Rejection("read", (error.strerror or type(error).__name__).lower())
    try:
        square = read_square(data)
    except FieldOfViewError as error:
        return Rejection("field_of_view", str(error))
    except ImageError as error:
        return Rejection("decode", str(error))
    packed = shrink(square.image, task.size)
    return PackedImage(
        jpeg=encode_jpeg(packed, quality=task.quality),
        height=packed.height,
        width=packed.width,
        source_sha256=hashlib.sha256(data).hexdigest(),
        source_height=square.source_height,
        source_width=square.source_width,
        field_of_view=square.field_of_view,
        perceptual_hash=difference_hash(packed),
    )
