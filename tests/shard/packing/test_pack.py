"""Packing one photograph, or saying why not."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from retfm_dist.image.source import MAX_SOURCE_BYTES
from retfm_dist.shard.packing.pack import PackedFacts, PackTask, Rejection, lose_image, pack_image
from tests.fakes.archive import draw_eye


def pack(path, size=64):
    return pack_image(PackTask(path.parent, path.name, size, 95))


def test_a_photograph_is_cropped_shrunk_and_described(tmp_path):
    path = tmp_path / "eye.png"
    draw_eye(1, side=300).save(path)
    result = pack(path)
    packed = result.outcome
    assert isinstance(packed, PackedFacts)
    assert result.stamp == (path.stat().st_size, path.stat().st_mtime_ns)
    assert (packed.height, packed.width) == (64, 64)
    assert (packed.source_height, packed.source_width) == (300, 320)
    assert packed.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert packed.field_of_view.radius == pytest.approx(138, abs=1.5)
    with Image.open(io.BytesIO(result.jpeg)) as image:
        assert image.size == (64, 64)
        pixels = np.asarray(image)
    assert pixels[32, 32].max() > 80
    assert pixels[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 12


def test_small_photographs_keep_their_size(tmp_path):
    draw_eye(1).save(tmp_path / "eye.png")
    packed = pack(tmp_path / "eye.png", size=512).outcome
    assert isinstance(packed, PackedFacts)
    assert packed.height == packed.width == pytest.approx(110, abs=3)


def test_packing_does_not_depend_on_the_file_name(tmp_path):
    for name in ("a.png", "b.png"):
        draw_eye(5).save(tmp_path / name)
    assert pack(tmp_path / "a.png").outcome == pack(tmp_path / "b.png").outcome


def spoil(directory, kind):
    """Write a file that cannot be packed and return its path."""
    path = directory / "doe_jane.jpg"
    draw_eye(2).save(path)
    if kind == "missing":
        path.unlink()
    elif kind == "directory":
        path.unlink()
        path.mkdir()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "text":
        path.write_text("not an image\n" * 100)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "black":
        Image.new("RGB", (200, 200)).save(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(MAX_SOURCE_BYTES + 1)
    return path


@pytest.mark.parametrize(
    ("kind", "rejection"),
    [
        ("missing", Rejection("read", "no such file; its directory does not exist or is empty")),
        ("directory", Rejection("read", "is a directory")),
        ("huge", Rejection("read", "the file is implausibly large, 536870913 bytes")),
        ("text", Rejection("decode", "not a JPEG, PNG or TIFF file")),
        ("empty", Rejection("decode", "the file is empty")),
    ],
)
def test_an_unusable_file_is_rejected_with_its_reason(tmp_path, kind, rejection):
    assert pack(spoil(tmp_path, kind)).outcome == rejection


@pytest.mark.parametrize(
    ("kind", "stage", "words"),
    [("truncated", "decode", "garbled"), ("black", "field_of_view", "the image is uniform")],
)
def test_an_unusable_image_is_rejected_with_its_reason(tmp_path, kind, stage, words):
    rejection = pack(spoil(tmp_path, kind)).outcome
    assert isinstance(rejection, Rejection)
    assert rejection.stage == stage
    assert words in rejection.reason
    assert "doe" not in rejection.reason


def test_what_was_not_read_has_no_stamp(tmp_path):
    assert pack(spoil(tmp_path, "missing")).stamp is None
    assert pack(spoil(tmp_path, "text")).stamp is not None
    lost = lose_image("no result within 60 s")
    assert (lost.outcome, lost.stamp) == (Rejection("lost", "no result within 60 s"), None)
