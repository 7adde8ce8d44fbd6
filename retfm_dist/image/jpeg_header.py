"""Read what a JPEG says before its picture, without decoding it."""

from collections.abc import Iterator

# Start-of-frame markers of baseline and extended sequential JPEG: what `encode_jpeg` writes.
_FRAME_MARKERS = (0xC0, 0xC1)
_SCAN_MARKER = 0xDA
_JFIF_MARKER = 0xE0
# JFIF, quantization, baseline frame, Huffman tables, restart interval, scan.
_PICTURE_MARKERS = frozenset({_JFIF_MARKER, 0xDB, 0xC0, 0xC4, 0xDD, _SCAN_MARKER})


def read_jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Return height and width of a sequential JPEG, px.

    Args:
        head: Its first bytes, at least up to the start of frame.

    Returns:
        (height, width), or None where `head` is not a sequential JPEG or ends too early.

    Source: ITU-T T.81, annex B.
    """
    if head[:2] != b"\xff\xd8":
        return None
    offset = 2
    while offset + 9 <= len(head) and head[offset] == 0xFF:
        marker = head[offset + 1]
        if marker == _SCAN_MARKER:
            return None
        if marker in _FRAME_MARKERS:
            return (
                int.from_bytes(head[offset + 5 : offset + 7], "big"),
                int.from_bytes(head[offset + 7 : offset + 9], "big"),
            )
        offset += 2 + int.from_bytes(head[offset + 2 : offset + 4], "big")
    return None


def is_picture_alone(jpeg: bytes) -> bool:
    """Whether a baseline JPEG holds nothing but what its picture needs, as `encode_jpeg` writes it.

    No EXIF, profile, comment or application data, no bytes after its end: nowhere text could hide.

    Args:
        jpeg: The whole file.

    Source: ITU-T T.81, annex B.
    """
    if jpeg[:2] != b"\xff\xd8" or jpeg[-2:] != b"\xff\xd9":
        return False
    offset = 2
    while offset + 4 <= len(jpeg) and jpeg[offset] == 0xFF:
        marker = jpeg[offset + 1]
        size = int.from_bytes(jpeg[offset + 2 : offset + 4], "big")
        if marker == _JFIF_MARKER and (size != 16 or jpeg[offset + 4 : offset + 9] != b"JFIF\0"):
            return False
        if marker not in _PICTURE_MARKERS:
            return False
        offset += 2 + size
        if marker == _SCAN_MARKER:
            scan = jpeg[offset:-2]
            # In a scan, 0xFF stands only before zero or a restart marker.
            return all(following == 0 or 0xD0 <= following <= 0xD7 for following in _after_ff(scan))
    return False


def _after_ff(scan: bytes) -> Iterator[int]:
    offset = scan.find(b"\xff")
    while offset >= 0:
        yield scan[offset + 1] if offset + 1 < len(scan) else -1
        offset = scan.find(b"\xff", offset + 2)
