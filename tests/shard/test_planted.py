"""A hundred planted identifiers in names, metadata and corners: none comes out of a build."""

import base64
import csv
import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin, TiffImagePlugin

from tests.fakes.archive import draw_eye

NUM_IMAGES = 20
CORNERS = ("black", "white page", "across the rim")


def secret(number, what):
    return f"Zorkblatt{number:02d}{what}"


def jpeg(image, number):
    """Encode with the secret in EXIF, XMP, IPTC and a comment."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = secret(number, "Exif"), secret(number, "Exif")
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + secret(number, "Exif").encode("utf-16-le")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, exif=exif, comment=secret(number, "Comment").encode())
    data = buffer.getvalue()
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x>" + secret(number, "Xmp").encode() + b"</x>"
    name = secret(number, "Iptc").encode()
    record = b"\x1c\x02\x50" + len(name).to_bytes(2, "big") + name
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record
    segments = b"".join(
        marker + (len(body) + 2).to_bytes(2, "big") + body
        for marker, body in ((b"\xff\xe1", xmp), (b"\xff\xed", iptc))
    )
    return data[:2] + segments + data[2:] + secret(number, "Tail").encode()


def png(image, number):
    info = PngImagePlugin.PngInfo()
    info.add_text("Patient", secret(number, "Text"))
    info.add_text("Patient", secret(number, "Ztxt"), zip=True)
    info.add_itxt("Patient", secret(number, "Itxt"))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def tiff(image, number):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (270, 315, 33432, 65000):
        tags.tagtype[tag] = 2
        tags[tag] = secret(number, "Tag")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", tiffinfo=tags)
    return buffer.getvalue()


def draw(number):
    """Draw an eye with a name in a corner on black or white, or across the rim, or without."""
    image = draw_eye(number, side=400)
    pen = ImageDraw.Draw(image)
    where = CORNERS[number % 4] if number % 4 < len(CORNERS) else None
    if where == "black":
        pen.text((4, 4), secret(number, ""), fill=(255, 255, 255), font_size=18)
    elif where == "across the rim":
        pen.text((30, 60), secret(number, "") * 2, fill=(255, 255, 255), font_size=22)
    elif where == "white page":
        page = Image.new("RGB", (560, 560), (254, 254, 252))
        page.paste(image, (60, 40))
        ImageDraw.Draw(page).text((70, 480), secret(number, ""), fill=(0, 0, 0), font_size=22)
        return page
    return image


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build a set from the archive by the command line; return its table, directory and log."""
    root = tmp_path_factory.mktemp("planted")
    rows = [("image_path", "patient_id", "exam_id", "captured_on", "device")]
    for number in range(NUM_IMAGES):
        kind = (jpeg, png, tiff)[number % 3]
        name = f"{secret(number, 'Folder')}/{secret(number, 'File')}.{('jpg', 'png', 'tif')[number % 3]}"
        (root / "archive" / name).parent.mkdir(parents=True)
        (root / "archive" / name).write_bytes(kind(draw(number), number))
        rows.append(
            (
                name,
                secret(number, "Id"),
                secret(number, "Exam"),
                f"2019-03-{number + 1:02d}",
                "Camera",
            )
        )
    rows.append((f"{secret(99, 'Missing')}.jpg", secret(99, "Id"), "", "", "Camera"))
    with (root / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    command = [sys.executable, "-m", "retfm_dist.shard", "build", "--table", root / "table.csv", "--images", root / "archive",
               "--out", root / "sets" / "set", "--size", "256", "--max-reject-ratio", "0.1"]  # fmt: skip
    environment = os.environ | {"XDG_CONFIG_HOME": str(root / "config")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    (root / "job.log").write_text(done.stdout + done.stderr)
    return root


def test_none_of_the_planted_identifiers_stands_in_the_set_or_the_log(built):
    names = [
        "Folder",
        "File",
        "Id",
        "Exam",
        "Exif",
        "Comment",
        "Xmp",
        "Iptc",
        "Tail",
        "Text",
        "Ztxt",
        "Itxt",
        "Tag",
    ]
    planted = {secret(number, what) for number in range(NUM_IMAGES) for what in names}
    assert len(planted) > 100
    word = "Zorkblatt"  # part of each of them
    forms = [
        word.encode(), word.lower().encode(), word[::-1].encode(), word.encode("utf-16-le"), word.encode("utf-16-be"),
        word.encode().hex().encode(), *(base64.b64encode(bytes(pad) + word.encode())[4:12] for pad in range(3)),
    ]  # fmt: skip
    files = [*(built / "sets").rglob("*"), built / "job.log"]
    assert len(files) > 8
    for path in files:
        assert word.lower() not in path.name.lower()
        if path.is_file():
            data = path.read_bytes()
            assert not [form for form in forms if form in data], path


def test_the_proof_of_privacy_agrees(built):
    command = [sys.executable, "-m", "retfm_dist.shard", "verify", built / "sets" / "set", "--privacy", built / "table.csv", "--log", built / "job.log"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "private values found" in done.stdout


def test_what_stands_in_corners_is_cut_away_and_what_crosses_the_rim_is_announced(built):
    rejects = (built / "sets" / "set" / "rejects.csv").read_text().splitlines()[1:]
    rows = {int(line.split(",")[0]): line.split(",")[2:4] for line in rejects}
    across = [number + 1 for number in range(NUM_IMAGES) if number % 4 == 2]
    assert {row for row, what in rows.items() if what == ["quarantine", "strokes"]} == set(across)
    assert f"{len(across)} images in quarantine (strokes)" in (built / "job.log").read_text()
    packed = 0
    with tarfile.open(next((built / "sets" / "set").glob("*.tar"))) as tar:
        for info in tar:
            data = tar.extractfile(info).read()
            if info.name.endswith(".json"):
                assert json.loads(data)["field_of_view"]["kind"] == "circle"
                continue
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)
            rows_, columns = np.mgrid[: len(pixels), : len(pixels)] + 0.5
            outside = np.hypot(rows_ - len(pixels) / 2, columns - len(pixels) / 2) > 0.53 * len(
                pixels
            )
            assert pixels[outside].max() < 40
            packed += 1
    assert packed == NUM_IMAGES - len(across)


def test_an_identifier_in_a_packed_column_is_announced_by_ending_the_build(built):
    text = (built / "table.csv").read_text().replace("Camera", f"Camera {secret(3, 'Id')}", 1)
    (built / "spoilt.csv").write_text(text)
    command = [sys.executable, "-m", "retfm_dist.shard", "build", "--table", built / "spoilt.csv", "--images", built / "archive",
               "--out", built / "none"]  # fmt: skip
    environment = os.environ | {"XDG_CONFIG_HOME": str(built / "config")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1
    assert "column device: a packed column holds what identifies people" in done.stderr
    assert "Zorkblatt" not in done.stderr
