import csv
import gzip
import io
import json
import os
import tarfile
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from retfm_dist.errors import ShardError
from retfm_dist.shard.foreign import index_tars
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.manifest import read_manifest
from retfm_dist.shard.set_index import open_set_index
from retfm_dist.shard.verify import verify_shards


def picture(number, *, kind="JPEG", **options):
    values = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = Image.fromarray(values).resize((60 + number % 7, 50), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def jpegs_of(directory):
    """What the index leads to, in its order."""
    index = open_set_index(directory)
    positions = np.arange(index.num_samples)
    records, is_sound = index.records(positions)
    assert is_sound.all()
    found = []
    for shard, record in zip(index.shards_of(positions), records, strict=True):
        data = (directory / index.names[int(shard)]).read_bytes()
        offset, size = int(record["offset"]), int(record["size"])
        found.append(data[offset : offset + size])
        width, height = Image.open(io.BytesIO(found[-1])).size
        assert (height, width) == (record["height"], record["width"])
    return found


def reasons_of(directory):
    rows = list(csv.DictReader((directory / "skipped.csv").read_text("utf-8").splitlines()))
    return {row["key"]: row["reason"] for row in rows}


def test_tars_of_webdataset_s_own_writer(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's, on import
        import webdataset

        with webdataset.ShardWriter(
            str(tmp_path / "eyes-%06d.tar"), maxcount=8, verbose=0
        ) as writer:
            for number in range(20):
                writer.write(
                    {
                        "__key__": f"left/eye{number:04d}",
                        "jpg": picture(number),
                        "json": {"n": number},
                    }
                )
    summary = index_tars(tmp_path)
    assert (summary.num_samples, summary.num_shards, summary.skipped) == (20, 3, {})
    assert jpegs_of(tmp_path) == [picture(number) for number in range(20)]
    assert verify_shards(tmp_path, full=True).num_samples == 20


def test_tars_in_the_layout_of_img2dataset(tmp_path):
    for shard in range(2):
        members = []
        for number in range(shard * 10, shard * 10 + 10):
            members += [
                (f"{number:09d}.jpg", picture(number)),
                (f"{number:09d}.txt", b"an eye"),
                (f"{number:09d}.json", json.dumps({"status": "success"}).encode()),
            ]
        write_tar(tmp_path / f"{shard:05d}.tar", members)
        (tmp_path / f"{shard:05d}.parquet").write_bytes(b"theirs")
        (tmp_path / f"{shard:05d}_stats.json").write_text("{}")
    assert index_tars(tmp_path, workers=2).num_samples == 20
    assert jpegs_of(tmp_path) == [picture(number) for number in range(20)]
    assert verify_shards(tmp_path, full=False, workers=2).num_shards == 2


def test_what_cannot_be_trained_on_is_skipped_with_its_reason(tmp_path):
    whole = picture(3)
    turned = Image.Exif()
    turned[0x0112] = 6
    members = [
        ("good.jpg", picture(1)),
        ("good.cls", b"1"),
        ("png.png", picture(2, kind="PNG")),
        ("text.txt", b"no image"),
        ("two.jpg", picture(4)),
        ("two.jpeg", picture(5)),
        ("cut.jpg", whole[: len(whole) // 2]),
        ("noise.jpg", bytes(range(256))),
        ("copy.jpg", picture(1)),
        ("turned.JPG", picture(6, exif=turned.tobytes())),
        ("slow.jpg", picture(7, progressive=True)),
        ("padded.jpg", picture(8) + bytes(100)),
        ("._good.jpg", b"a desktop's dropping"),
    ]
    write_tar(tmp_path / "a.tar", members)
    summary = index_tars(tmp_path)
    assert summary.num_samples == 4
    assert (summary.num_turned, summary.num_progressive) == (1, 1)
    assert jpegs_of(tmp_path)[-1] == picture(8)
    reasons = reasons_of(tmp_path)
    assert set(reasons) == {"png", "text", "two", "cut", "noise", "copy"}
    assert reasons["png"] == "no JPEG; got a .png"
    assert reasons["two"] == "several images in one sample; got 2"
    assert reasons["copy"] == "a copy of an earlier image"
    assert sum(summary.skipped.values()) == 6
    assert sum(Counter(read_manifest(tmp_path).build["skipped"]).values()) == 6


def test_damaged_pixels_are_skipped_unless_told_not_to_look(tmp_path):
    garbled = bytearray(picture(3, quality=95))
    garbled[-60:-30] = bytes(30)
    write_tar(tmp_path / "a.tar", [("a.jpg", picture(1)), ("b.jpg", bytes(garbled))])
    assert index_tars(tmp_path).num_samples == 1
    (tmp_path / "manifest.json").unlink()
    assert index_tars(tmp_path, decode=False).num_samples == 2


@pytest.mark.parametrize(
    "options", [{"format": tarfile.PAX_FORMAT}, {"format": tarfile.GNU_FORMAT}]
)
def test_long_names_are_read_as_what_they_are(tmp_path, options):
    names = [f"{'d' * 90}/{'e' * 90}/{number}.jpg" for number in range(3)]
    write_tar(tmp_path / "a.tar", [(name, picture(i)) for i, name in enumerate(names)], **options)
    assert index_tars(tmp_path).num_samples == 3
    assert jpegs_of(tmp_path) == [picture(number) for number in range(3)]


def test_the_index_is_the_same_however_many_workers_make_it(tmp_path):
    contents = []
    for workers in (1, 2):
        directory = tmp_path / str(workers)
        directory.mkdir()
        for shard in range(3):
            write_tar(
                directory / f"{shard}.tar",
                [(f"{i}.jpg", picture(10 * shard + i)) for i in range(4)],
            )
        index_tars(directory, workers=workers)
        contents.append({p.name: p.read_bytes() for p in directory.iterdir() if p.suffix != ".tar"})
    assert contents[0] == contents[1]


def prepare_nothing(path):
    pass


def prepare_compressed(path):
    (path / "a.tar.gz").write_bytes(gzip.compress(b"x"))


def prepare_disguised(path):
    (path / "a.tar").write_bytes(gzip.compress(b"x" * 3000))


def prepare_pipe(path):
    os.mkfifo(path / "a.tar")


def prepare_cut(path):
    write_tar(path / "a.tar", [("a.jpg", picture(1)), ("b.jpg", picture(2) + bytes(20_000))])
    content = (path / "a.tar").read_bytes()
    (path / "a.tar").write_bytes(content[: len(content) // 2])


def prepare_text(path):
    write_tar(path / "a.tar", [("a.txt", b"words")])


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (prepare_nothing, "no tars to index; got none"),
        (prepare_compressed, "no tars to index; got compressed ones such as a.tar.gz"),
        (prepare_disguised, "a.tar: cannot be read as a tar"),
        (prepare_pipe, "a.tar: not a regular file"),
        (prepare_cut, "a.tar: (the tar is cut short|cannot be read as a tar)"),
        (prepare_text, "no image of the tars can be used; got 1 samples, the first a: no JPEG"),
    ],
)
def test_what_is_no_set_of_tars_is_one_error_and_leaves_no_manifest(tmp_path, prepare, message):
    prepare(tmp_path)
    with pytest.raises(ShardError, match=message):
        index_tars(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_a_set_that_has_a_manifest_is_left_alone(tmp_path):
    write_tar(tmp_path / "a.tar", [("a.jpg", picture(1))])
    index_tars(tmp_path)
    with pytest.raises(ShardError, match=r"manifest.json: the tars have a manifest already"):
        index_tars(tmp_path)


@pytest.mark.parametrize("full", [True, False])
def test_changed_tars_and_indexes_are_found(tmp_path, full):
    write_tar(tmp_path / "a.tar", [(f"{i}.jpg", picture(i)) for i in range(3)])
    write_tar(tmp_path / "b.tar", [(f"{i}.jpg", picture(9 + i)) for i in range(3)])
    index_tars(tmp_path)
    record = read_sample_index(tmp_path / "b.samples")[1]
    content = bytearray((tmp_path / "b.tar").read_bytes())
    content[int(record["offset"]) + 400] ^= 1
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(
        ShardError, match="b.tar has another sha256|b.samples does not describe b.tar"
    ):
        verify_shards(tmp_path, full=full)
    write_tar(tmp_path / "c.tar", [("a.jpg", picture(1))])
    with pytest.raises(ShardError, match="c.tar is not in the manifest"):
        verify_shards(tmp_path, full=full)
