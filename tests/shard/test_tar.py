"""Tars that every tool reads the same way."""

import io
import subprocess
import tarfile

import pytest

from retfm_dist.durable import sha256_file
from retfm_dist.errors import ShardError
from retfm_dist.shard.tar import Member, TarWriter, member_bytes, read_members, render_dali_index

FILES = {"a-1.jpg": b"x" * 511, "a-1.json": b"{}", "b_2.jpg": b"y" * 512, "b_2.json": b"z" * 513}


@pytest.fixture
def tar_path(tmp_path):
    path = tmp_path / "t.tar"
    with path.open("wb") as file:
        writer = TarWriter(file)
        members = [writer.add(name, data) for name, data in FILES.items()]
        num_bytes, sha256 = writer.finish()
    assert (num_bytes, sha256) == (path.stat().st_size, sha256_file(path))
    assert list(read_members(path)) == members
    return path


def test_members_come_back_through_python_and_tar(tar_path):
    with tarfile.open(tar_path) as archive:
        infos = archive.getmembers()
        assert {info.name: archive.extractfile(info).read() for info in infos} == FILES
    for info in infos:
        assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
        assert (info.mode, info.type, info.pax_headers) == (0o644, tarfile.REGTYPE, {})
    listing = subprocess.run(["tar", "tf", tar_path], capture_output=True, text=True, check=True)
    assert (listing.stdout.split(), listing.stderr) == (list(FILES), "")


def test_archive_is_the_one_pythons_ustar_writer_makes(tar_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert tar_path.read_bytes() == buffer.getvalue()


def test_members_point_at_their_data(tar_path):
    data = tar_path.read_bytes()
    for member in read_members(tar_path):
        assert data[member.offset : member.offset + member.size] == FILES[member.name]


def test_member_bytes_count_header_and_padding():
    assert [member_bytes(size) for size in (0, 1, 512, 513)] == [512, 1024, 1024, 1536]


def test_index_is_the_one_dali_makes(tar_path, tmp_path):
    wds2idx = pytest.importorskip("wds2idx", reason="needs nvidia-dali")
    with wds2idx.IndexCreator(str(tar_path), str(tmp_path / "dali.idx"), verbose=False) as creator:
        creator.create_index()
    assert render_dali_index(list(read_members(tar_path))) == (tmp_path / "dali.idx").read_text()


def test_index_lists_files_by_sample():
    members = [Member("k.jpg", 512, 5), Member("k.json", 1536, 2), Member("l.jpg", 2560, 9)]
    assert render_dali_index(members) == (
        "v1.2 2\njpg 512 5 k.jpg json 1536 2 k.json\njpg 2560 9 l.jpg\n"
    )


@pytest.mark.parametrize(
    "name", ["a b.jpg", "a.b.jpg", "../a.jpg", "a", "k" * 100 + ".jpg", "\u00e9.jpg"]
)
def test_names_that_some_reader_misreads_are_never_written(name):
    with pytest.raises(AssertionError):
        TarWriter(io.BytesIO()).add(name, b"")


def test_a_cut_tar_is_refused(tar_path):
    data = tar_path.read_bytes()
    for length in (0, 100, 512, 700, 1024, 2048):
        tar_path.write_bytes(data[:length])
        with pytest.raises(ShardError, match="damaged header|not a whole regular file"):
            list(read_members(tar_path))


def test_a_damaged_header_is_refused(tar_path):
    data = bytearray(tar_path.read_bytes())
    data[3] ^= 1
    tar_path.write_bytes(data)
    with pytest.raises(ShardError, match="damaged header; got bad checksum"):
        list(read_members(tar_path))


def test_links_are_refused(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    (tmp_path / "t.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(ShardError, match="not a whole regular file"):
        list(read_members(tmp_path / "t.tar"))
