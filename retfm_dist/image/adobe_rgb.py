"""Adobe RGB (1998), which cameras name in EXIF without embedding its profile."""

import struct
from functools import cache

from PIL import ExifTags, Image

_GAMMA = 563 / 256
# Adobe RGB (1998) Color Image Encoding, version 2005-05: XYZ of the primaries, adapted to D50.
_PRIMARIES = {
    b"r": (0.60974, 0.31111, 0.01947),
    b"g": (0.20528, 0.62567, 0.06087),
    b"b": (0.14919, 0.06322, 0.74457),
}
_D50 = (0.9642, 1.0, 0.8249)
# DCF 2.0: the interoperability index of files in the optional color space, Adobe RGB. Some cameras
# state color space 2 instead.
_DCF_OPTIONAL, _OPTIONAL_COLOR_SPACE = "R03", 2
_INDEX_TAG = 1


def is_adobe_rgb(exif: Image.Exif) -> bool:
    """Whether EXIF names Adobe RGB as the color space."""
    index = exif.get_ifd(ExifTags.IFD.Interop).get(_INDEX_TAG, "")
    space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
    return str(index).strip("\0 ") == _DCF_OPTIONAL or space == _OPTIONAL_COLOR_SPACE


@cache
def adobe_rgb_profile() -> bytes:
    """Return an ICC profile of Adobe RGB: ICC.1:2001-04, a matrix and one gamma."""
    curve = b"curv" + struct.pack(">4xIH2x", 1, round(_GAMMA * 256))
    name = b"Adobe RGB (1998)\0"
    tags = {
        b"desc": b"desc" + struct.pack(">4xI", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(_D50),
    }
    for letter, color in _PRIMARIES.items():
        tags |= {letter + b"XYZ": _xyz(color), letter + b"TRC": curve}
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x12s48x",
        start + len(body), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp", _xyz(_D50)[8:],
    )  # fmt: skip
    return header + struct.pack(">I", len(tags)) + table + body


def _xyz(color: tuple[float, float, float]) -> bytes:
    return b"XYZ " + struct.pack(">4x3i", *(round(value * 65536) for value in color))
