"""Turn one photograph into what a shard holds of it. Runs in worker processes."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retfm_dist.errors import FieldOfViewError, ImageError
from retfm_dist.image.crop import shrink
from retfm_dist.image.encode import difference_hash, encode_jpeg, miniature
from retfm_dist.image.field_of_view import FieldOfView
from retfm_dist.image.source import find_source, read_source
from retfm_dist.image.square import read_square

Stage = Literal["read", "decode", "field_of_view", "lost", "quarantine", "duplicate"]
Stamp = tuple[int, int]
"""Size and time of modification (ns) of a file: another value means another content."""


@dataclass(frozen=True)
class PackTask:
    """One photograph to pack.

    Attributes:
        root: Directory of the images.
        name: Path of the photograph below it, as the table spells it.
        size: Side of the packed square, px, where the source is large enough.
        quality: JPEG quality, 1 to 100.
    """

    root: Path
    name: str
    size: int
    quality: int


@dataclass(frozen=True, slots=True)
class PackedFacts:
    """What is known of a packed photograph beside its JPEG.

    Attributes:
        height: Height of the JPEG, px.
        width: Its width, px.
        source_sha256: Hex digest of the source file.
        source_height: Height of the upright photograph, px.
        source_width: Width of the upright photograph, px.
        field_of_view: Where the retina is in the photograph.
        perceptual_hash: `difference_hash` of the cropped square.
        miniature: `miniature` of the cropped square, base64.
    """

    height: int
    width: int
    source_sha256: str
    source_height: int
    source_width: int
    field_of_view: FieldOfView
    perceptual_hash: str
    miniature: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a photograph is left out; names no file.

    Attributes:
        stage: Step that failed.
        reason: One clause.
        kind: What the picture is instead, where it is quarantined.
    """

    stage: Stage
    reason: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Packed:
    """Result of packing one photograph.

    Attributes:
        outcome: Facts of the packed image, or why there is none.
        jpeg: Baseline JPEG of the cropped square; empty without one.
        stamp: Of the source file, so that it need not be packed again; None where it was not read.
    """

    outcome: PackedFacts | Rejection
    jpeg: bytes = b""
    stamp: Stamp | None = None


def pack_image(task: PackTask) -> Packed:
    """Read, check, crop, shrink and encode one photograph; a bad one becomes a `Rejection`."""
    try:
        data, facts = read_source(find_source(task.root, task.name))
    except ImageError as error:
        return Packed(Rejection("read", str(error)))
    except OSError as error:
        return Packed(Rejection("read", (error.strerror or type(error).__name__).lower()))
    stamp = (facts.st_size, facts.st_mtime_ns)
    try:
        square = read_square(data)
    except FieldOfViewError as error:
        return Packed(Rejection("field_of_view", str(error)), stamp=stamp)
    except ImageError as error:
        return Packed(Rejection("decode", str(error)), stamp=stamp)
    image = shrink(square.image, task.size)
    outcome = PackedFacts(
        height=image.height,
        width=image.width,
        source_sha256=hashlib.sha256(data).hexdigest(),
        source_height=square.source_height,
        source_width=square.source_width,
        field_of_view=square.field_of_view,
        perceptual_hash=difference_hash(image),
        miniature=base64.b64encode(miniature(image)).decode("ascii"),
    )
    return Packed(outcome, encode_jpeg(image, quality=task.quality), stamp)


def lose_image(reason: str) -> Packed:
    """Return the result of a photograph whose worker process died or took too long."""
    return Packed(Rejection("lost", reason))
