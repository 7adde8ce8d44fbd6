"""Read a JPEG's size from its first bytes, without decoding it."""

# Start-of-frame markers of baseline and extended sequential JPEG: what `encode_jpeg` writes.
_FRAME_MARKERS = (0xC0, 0xC1)
_SCAN_MARKER = 0xDA


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
