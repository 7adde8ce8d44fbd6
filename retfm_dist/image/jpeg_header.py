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
    position = 2
    while position + 9 <= len(head) and head[position] == 0xFF:
        marker = head[position + 1]
        if marker == _SCAN_MARKER:
            return None
        if marker in _FRAME_MARKERS:
            return (
                int.from_bytes(head[position + 5 : position + 7], "big"),
                int.from_bytes(head[position + 7 : position + 9], "big"),
            )
        position += 2 + int.from_bytes(head[position + 2 : position + 4], "big")
    return None
