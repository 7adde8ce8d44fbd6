"""Strip a PNG file of everything that is not the picture, and check what is.

A broken or endless text chunk says nothing about the pixels, and Pillow refuses the file for it.
"""

import zlib
from collections.abc import Iterator

from retfm_dist.errors import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND"
# Header, palette, data; transparency, color, orientation, significant bits.
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT"})
_KEPT = frozenset({b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf", b"sBIT"})
_MAX_METADATA_BYTES = 1 << 22


def keep_picture(data: bytes) -> bytes:
    """Return a PNG file with its picture alone, ending in an end marker.

    Args:
        data: The whole file; what follows the end marker, or a missing one, does not matter.

    Raises:
        ImageError: A part of the picture is damaged or cut off.
    """
    parts = [SIGNATURE]
    for kind, body, whole in _chunks(data):
        is_sound = whole[-4:] == zlib.crc32(kind + body).to_bytes(4, "big")
        if kind in _CRITICAL and not is_sound:
            raise ImageError("the PNG data are garbled", got=f"a damaged {kind.decode()} chunk")
        if kind in _CRITICAL or (kind in _KEPT and is_sound and len(body) <= _MAX_METADATA_BYTES):
            parts.append(whole)
    parts.append(b"\0\0\0\0" + _END + zlib.crc32(_END).to_bytes(4, "big"))
    return b"".join(parts)


def significant_bits(data: bytes) -> int | None:
    """Return how many bits of a sample are meant, as the file's sBIT chunk states, or None."""
    for kind, body, _ in _chunks(data):
        if kind == b"sBIT" and body:
            return body[0]
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, body and all bytes of each chunk up to the end marker.

    Raises:
        ImageError: The file ends within a chunk of the picture.
    """
    offset = len(SIGNATURE)
    while offset + 12 <= len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        kind = data[offset + 4 : offset + 8]
        end = offset + 12 + size
        if kind == _END:
            return
        if end > len(data):
            break
        yield kind, data[offset + 8 : end - 4], data[offset:end]
        offset = end
    if data[offset + 4 : offset + 8] in _CRITICAL:
        raise ImageError("the PNG data are cut off")
