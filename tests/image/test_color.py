"""Stored values to sRGB: depth, profiles, L*a*b*."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from retfm_dist.errors import ImageError
from retfm_dist.image.color import Meaning, check_high_bytes, narrow, to_srgb
from tests.fakes.discs import draw_disc


def wide_profile():
    """Return a matrix profile with other primaries than sRGB and gamma 2.2 (ICC.1, version 2)."""

    def fixed(value):
        return struct.pack(">i", round(value * 65536))

    def xyz(*values):
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563) + b"\0\0"
    parts = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    offset, table, body = 128 + 4 + 12 * len(parts), b"", b""
    for key, value in parts.items():
        padded = value + b"\0" * (-len(value) % 4)
        table += key + struct.pack(">II", offset + len(body), len(padded))
        body += padded
    head = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ "
    )
    head += b"\0" * 12 + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body


def difference(first, second):
    return np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int))


def test_a_wide_gamut_picture_shows_the_same_scene_as_its_srgb_version():
    scene = draw_disc(noise=0)
    profile = wide_profile()
    wide = ImageCms.profileToProfile(
        scene, ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    )
    assert difference(wide, scene).max() > 20
    assert difference(to_srgb(wide, Meaning(profile)), scene).max() <= 3


@pytest.mark.parametrize(
    "profile",
    [b"not a profile", b"", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()],
)
def test_a_broken_profile_and_srgb_itself_change_nothing(profile):
    scene = draw_disc()
    assert difference(to_srgb(scene, Meaning(profile)), scene).max() == 0


def test_a_profile_of_another_color_space_is_ignored():
    gray = draw_disc().convert("L")
    assert difference(to_srgb(gray, Meaning(wide_profile())), gray.convert("RGB")).max() == 0


def test_lab_becomes_the_scene_it_shows():
    scene = draw_disc(noise=0)
    lab = ImageCms.profileToProfile(
        scene, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert difference(to_srgb(lab, Meaning()), scene).max() <= 6


@pytest.mark.parametrize(
    ("largest", "bits", "depth"),
    [(255, None, 8), (256, None, 10), (4095, None, 12), (4096, None, 14), (65535, None, 16), (900, 12, 12), (5000, 12, 14), (7, None, 8)],
)  # fmt: skip
def test_depth_is_stated_or_the_smallest_that_holds_the_values(largest, bits, depth):
    assert narrow(np.array([[0, largest]]), bits=bits)[0].tolist() == [
        0,
        round(largest * 255 / (2**depth - 1)),
    ]


def test_values_out_of_range_are_refused():
    for values in ([[-1, 5]], [[0, 70000]]):
        with pytest.raises(ImageError, match="do not fit 16 bits"):
            narrow(np.array(values), bits=None)


def test_empty_upper_bytes_are_refused():
    check_high_bytes(Image.new("RGB", (8, 8), (0, 64, 3)))
    with pytest.raises(ImageError, match="at most 63 of 255 in the upper byte"):
        check_high_bytes(Image.new("RGB", (8, 8), (0, 63, 3)))
