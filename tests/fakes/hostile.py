"""Hostile inputs for `shard build`: seeded, each with what has to become of it."""

import io
import os
import random
import struct
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tests.fakes.discs import draw_disc

_SLASHES = "/\\"
SOUND, GARBLED, REFUSED = "sound", "garbled", "refused"


@dataclass(frozen=True)
class Hostile:
    """One input.

    Attributes:
        name: Path as a table names it.
        kind: What was done to it.
        fate: SOUND must come out right, GARBLED right or not at all, REFUSED not at all.
        picture: Seed of `draw` for the undamaged picture; None where there is none.
    """

    name: str
    kind: str
    fate: str
    picture: int | None = None


def draw(seed: int) -> Image.Image:
    """Draw a disc with soft texture and a bright spot, 4:3, of a size between 240 and 640 px."""
    generator = np.random.default_rng(seed)
    height = int(generator.integers(240, 640))
    width = height * 4 // 3
    disc = draw_disc(
        height=height, width=width, center_y=height / 2, center_x=width / 2, radius=0.46 * height,
        noise=2, seed=seed, brightness=int(generator.integers(120, 200)),
    )  # fmt: skip
    grain = Image.fromarray(generator.integers(0, 255, (height, width), np.uint8))
    soft = np.asarray(grain.filter(ImageFilter.GaussianBlur(4))).astype(float) - 127
    pixels = np.asarray(disc).astype(float)
    pixels += (pixels.max(axis=2, keepdims=True) > 20) * soft[..., None] * 0.6
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_hostile(root: Path, seed: int) -> Hostile:
    """Write input number `seed` below `root`."""
    rng = random.Random(seed)
    kind = rng.choice(sorted(_KINDS))
    return _KINDS[kind](root, rng, seed, kind)


def _encode(image, form="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _jpeg(rng: random.Random, image) -> bytes:
    return _encode(
        image, quality=rng.choice([60, 80, 92, 97]), subsampling=rng.choice([0, 1, 2]),
        progressive=rng.random() < 0.25,
    )  # fmt: skip


def _sound(root, rng, seed, kind) -> Hostile:
    """Formats, modes and metadata that say the same picture."""
    image = draw(seed)
    text = bytes(rng.randrange(32, 127) for _ in range(rng.randrange(9, 3000)))
    png = _encode(image, "PNG")
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", rng.randrange(2**32))
    jpeg = _jpeg(rng, image)
    app1 = b"\xff\xe1" + struct.pack(">H", len(text) % 2000 + 2) + text[: len(text) % 2000]
    variants = {
        "jpg": jpeg, "no_end.jpg": jpeg[:-2], "more.jpg": jpeg + text, "odd.jpg": jpeg[:2] + app1 + jpeg[2:],
        "png": png, "crc.png": png[:33] + chunk + png[33:], "no_end.png": png[:-12],
        "lzw.tif": _encode(image, "TIFF", compression="tiff_lzw"), "tif": _encode(image, "TIFF"),
        "icc.jpg": _encode(image, quality=92, icc_profile=text), "comment.jpg": _encode(image, quality=92, comment=text[:900]),
    }  # fmt: skip
    suffix = rng.choice(sorted(variants))
    name = f"{seed}_{suffix}" if "." in suffix else f"{seed}.{suffix}"
    (root / name).write_bytes(variants[suffix])
    return Hostile(name, f"{kind} {suffix}", SOUND, seed)


def _damaged_jpeg(damage):
    def write(root, rng, seed, kind) -> Hostile:
        image = draw(seed)
        data = bytearray(_jpeg(rng, image))
        damage(data, data.index(b"\xff\xda") + 14, rng)
        (root / f"{seed}.jpg").write_bytes(bytes(data))
        return Hostile(f"{seed}.jpg", kind, GARBLED, seed)

    return write


def _flip(data, start, rng) -> None:
    for _ in range(rng.choice([1, 3, 10, 30])):
        data[rng.randrange(start, len(data) - 2)] ^= 1 << rng.randrange(8)


def _hole(data, start, rng) -> None:
    size = min(rng.choice([64, 512, 4096]), (len(data) - start) // 2)
    first = rng.randrange(start, len(data) - 2 - size)
    data[first : first + size] = bytes(size) if rng.random() < 0.5 else rng.randbytes(size)


def _cut(data, start, rng) -> None:
    del data[rng.randrange(start, len(data) - 2) :]


def _damaged_png(root, rng, seed, kind) -> Hostile:
    data = bytearray(_encode(draw(seed), "PNG"))
    data[rng.randrange(41, len(data) - 16)] ^= 1 << rng.randrange(8)
    if rng.random() < 0.5:
        del data[rng.randrange(60, len(data) - 16) :]
    (root / f"{seed}.png").write_bytes(data)
    return Hostile(f"{seed}.png", kind, REFUSED)


def _no_image(root, rng, seed, kind) -> Hostile:
    contents = [
        b"", rng.randbytes(3000), b"GIF89a" + rng.randbytes(99), _encode(draw(seed), "BMP"), _encode(draw(seed), "WEBP"),
        b"<html>sign in</html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0" + rng.randbytes(400), b"\0" * 128 + b"DICM",
        _encode(draw(seed), "TIFF")[: rng.randrange(8, 300)],
    ]  # fmt: skip
    name = f"{seed}.{rng.choice(['jpg', 'png', 'tif'])}"
    (root / name).write_bytes(rng.choice(contents))
    return Hostile(name, kind, REFUSED)


def _bomb(root, rng, seed, kind) -> Hostile:
    side = rng.choice([30_000, 65_000, 2**31 - 1])
    header = struct.pack(">IIBBBBB", side, side, 8, rng.choice([0, 2]), 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in chunks
    )
    (root / f"{seed}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return Hostile(f"{seed}.png", kind, REFUSED)


def _special(root, rng, seed, kind) -> Hostile:
    path = root / f"{seed}.jpg"
    what = rng.choice(["pipe", "device", "loop", "outside", "directory", "large"])
    if what == "pipe":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "large":
        with path.open("wb") as file:
            file.truncate(1 << 40)  # sparse
    else:
        targets = {"device": "/dev/zero", "loop": path, "outside": root.parent / "outside.jpg"}
        path.symlink_to(targets[what])
    return Hostile(path.name, f"{kind} {what}", REFUSED)


def _name(root, rng, seed, kind) -> Hostile:
    """Names that lead nowhere, or elsewhere."""
    name = rng.choice([
        "../outside.jpg", "/etc/passwd", "a\0.jpg", "x" * 300, "none.jpg", "C:\\eye.jpg", "..\\outside.jpg",
        "\ud800.jpg", "a/" * 300 + "b.jpg", "/dev/zero", "con\x1b[31m.jpg", "",
    ])  # fmt: skip
    return Hostile(name or ".", kind, REFUSED)


def _spelled(root, rng, seed, kind) -> Hostile:
    """The right file under a name that another system wrote."""
    image = draw(seed)
    folder = root / f"folder {seed}"
    folder.mkdir()
    name = f"M\xfcller \u5de6\u773c {seed}.jpg"
    (folder / unicodedata.normalize(rng.choice(["NFC", "NFD"]), name)).write_bytes(
        _jpeg(rng, image)
    )
    spelled = unicodedata.normalize(
        rng.choice(["NFC", "NFD"]), f"folder {seed}{rng.choice(_SLASHES)}{name}"
    )
    return Hostile(spelled, kind, SOUND, seed)


_KINDS = {
    "sound": _sound,
    "sound again": _sound,
    "flipped bits": _damaged_jpeg(_flip),
    "hole": _damaged_jpeg(_hole),
    "cut": _damaged_jpeg(_cut),
    "damaged png": _damaged_png,
    "no image": _no_image,
    "bomb": _bomb,
    "special file": _special,
    "name": _name,
    "spelled otherwise": _spelled,
}
