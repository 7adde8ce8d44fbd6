"""The manifest: the mark of a complete set, and unforgeable by accident."""

import json

import pytest

from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import FileEntry, ShardEntry, read_manifest, write_manifest

SHARDS = (ShardEntry("000000.tar", 3, "ab", 2), ShardEntry("000001.tar", 3, "cd", 1))
FILES = (FileEntry("z", 0, "ef"), FileEntry("a", 0, "01"))


def write(directory, *, shards=SHARDS, files=FILES, build=None):
    for entry in (*shards, *files):
        (directory / entry.name).touch()
    return write_manifest(directory, shards=shards, files=files, build=build or {"size": 512})


def test_what_is_written_comes_back(tmp_path):
    written = write(tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest == written
    assert manifest.shards == SHARDS
    assert manifest.num_samples == 3
    assert manifest.build == {"size": 512}
    assert [file.name for file in manifest.files] == ["a", "z"]
    assert (SHARDS[1].index_name, SHARDS[1].dali_index_name) == ("000001.samples", "000001.idx")


def test_fingerprint_names_the_content(tmp_path):
    prints = set()
    for number, options in enumerate(
        [{}, {"build": {"size": 256}}, {"files": FILES[:1]}, {"shards": SHARDS[::-1]}]
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        prints.add(write(directory, **options).fingerprint)
    assert len(prints) == 4
    assert write(tmp_path).fingerprint == write(tmp_path).fingerprint


def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path):
    write(tmp_path)
    path = tmp_path / "manifest.json"
    data = path.read_bytes()
    for bit in range(0, len(data) * 8, 5):  # every fifth: all bits of a byte come by, in less time
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ShardError, match="manifest"):
            read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the manifest is damaged; got text that is not JSON"),
        ("[]", "the manifest is damaged; got JSON without a fingerprint"),
        (
            '{"fingerprint": "", "format": "other", "version": 9}',
            "got other 9, expected retfm-shards 1",
        ),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ShardError, match=message):
        read_manifest(tmp_path)


def test_an_edited_manifest_is_refused(tmp_path):
    write(tmp_path)
    path = tmp_path / "manifest.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body))
    with pytest.raises(ShardError, match="content that does not match its fingerprint"):
        read_manifest(tmp_path)


def test_a_set_without_a_manifest_is_no_set(tmp_path):
    with pytest.raises(ShardError, match="not a complete shard set.*No such file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["000001.tar", "a"])
def test_an_absent_file_is_named(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ShardError, match=f"1 of 4 absent, the first is {name}"):
        read_manifest(tmp_path)


def test_names_cannot_leave_the_directory(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", files=(FileEntry("../outside", 0, ""),))
    with pytest.raises(ShardError, match=r"not a plain file name; got '\.\./outside'"):
        read_manifest(tmp_path / "sub")
