"""The proof finds whatever is planted in a finished set, and passes a clean one."""

import hashlib
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import MANIFEST_NAME, read_manifest, write_manifest
from retfm_dist.shard.privacy import check_privacy
from retfm_dist.shard.write import list_files
from tests.fakes.archive import build, write_archive


@pytest.fixture
def built(tmp_path):
    table = write_archive(tmp_path / "archive")
    build(table, tmp_path / "set", shard_mb=100)
    return read_archive_table(table), tmp_path / "set"


def seal(shard_dir):
    """Write the manifest anew, as somebody who meddles would."""
    manifest = read_manifest(shard_dir)
    (shard_dir / MANIFEST_NAME).unlink()
    files = list_files(shard_dir, shards=manifest.shards)
    write_manifest(shard_dir, shards=manifest.shards, files=files, build=manifest.build)


def test_a_clean_set_passes_with_a_count(built):
    records, shard_dir = built
    assert check_privacy(shard_dir, records) == 30


def test_logs_are_searched_too(built, tmp_path):
    records, shard_dir = built
    (tmp_path / "clean.log").write_text("packing images: 12 of 12\n")
    check_privacy(shard_dir, records, logs=[tmp_path / "clean.log"])
    (tmp_path / "job.log").write_text("fine\nerror: row 3, got 'NHS-0001'\n")
    with pytest.raises(ShardError, match="job.log: line 2 holds the patient_id of row 3") as caught:
        check_privacy(shard_dir, records, logs=[tmp_path / "job.log"])
    assert "NHS" not in str(caught.value)


@pytest.mark.parametrize("name", ["NHS-0001.txt", ".NHS-0001", "notes"])
def test_a_file_that_is_no_part_of_a_set_is_found(built, name):
    records, shard_dir = built
    (shard_dir / name).write_text("")
    with pytest.raises(ShardError, match="a file that is no part of a set"):
        check_privacy(shard_dir, records)


@pytest.mark.parametrize("name", ["rejects.csv", "cohort.md", "duplicates.csv"])
def test_a_report_that_holds_an_identifier_is_found(built, name):
    records, shard_dir = built
    with (shard_dir / name).open("a") as file:
        file.write("7,EXAM-5,EXAM-5,EXAM-5,EXAM-5,EXAM-5\n")
    with pytest.raises(
        ShardError, match=f"{name}.*holds the exam_id of row 6|{name}: subject_id has another form"
    ):
        check_privacy(shard_dir, records)


def test_a_table_that_holds_one_is_found(built):
    records, shard_dir = built
    table = pq.read_table(shard_dir / "samples.parquet")
    planted = table.append_column("note", pa.array(["doe_003"] * table.num_rows))
    pq.write_table(planted, shard_dir / "samples.parquet")
    with pytest.raises(ShardError, match="samples.parquet: note holds the file name of row 4"):
        check_privacy(shard_dir, records)
    pq.write_table(
        table.replace_schema_metadata({"source": "NHS-0002"}), shard_dir / "samples.parquet"
    )
    with pytest.raises(ShardError, match="samples.parquet: metadata holds the patient_id of row 5"):
        check_privacy(shard_dir, records)


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
def test_a_pseudonym_without_salt_is_found(built, name):
    records, shard_dir = built
    table = pq.read_table(shard_dir / "samples.parquet")
    bare = hashlib.new(name, b"NHS-0003").hexdigest()[:12]
    column = table.column_names.index("subject_id")
    spoilt = table.set_column(column, "subject_id", pa.array([bare] * table.num_rows))
    pq.write_table(spoilt, shard_dir / "samples.parquet")
    with pytest.raises(ShardError, match="subject_id is a plain hash of a patient number"):
        check_privacy(shard_dir, records)


def rewrite_tar(shard_dir, change):
    """Write the first tar again with changed members (name, data)."""
    path = shard_dir / "000000.tar"
    with tarfile.open(path) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in change(members):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, __import__("io").BytesIO(data))


def with_comment(members):
    (name, jpeg), *rest = members
    text = b"\xff\xfe\x00\x0aNHS-0001"
    return [(name, jpeg[:2] + text + jpeg[2:]), *rest]


def with_trailing_bytes(members):
    (name, jpeg), *rest = members
    return [(name, jpeg + b"NHS-0001\xff\xd9"), *rest]


def with_extra_field(members):
    image, (name, facts), *rest = members
    return [image, (name, json.dumps(json.loads(facts) | {"note": "x"}).encode()), *rest]


def with_device(members):
    image, (name, facts), *rest = members
    spoilt = json.loads(facts) | {"device": "Camera of NHS-0004"}
    return [
        image,
        (name, json.dumps(spoilt, sort_keys=True, separators=(",", ":")).encode()),
        *rest,
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_comment, "a JPEG with more than its picture"),
        (with_trailing_bytes, "a JPEG with more than its picture"),
        (with_extra_field, "JSON is not as we write it"),
        (with_device, "000000.tar: device holds the patient_id of row 9"),
    ],
)
def test_a_tar_that_holds_more_than_we_write_is_found(built, change, message):
    records, shard_dir = built
    rewrite_tar(shard_dir, change)
    with pytest.raises(ShardError, match=message):
        check_privacy(shard_dir, records)


def test_bytes_between_and_after_members_are_found(built):
    records, shard_dir = built
    path = shard_dir / "000000.tar"
    data = path.read_bytes()
    path.write_bytes(data[:-600] + b"NHS-0001" + data[-592:])
    with pytest.raises(ShardError, match="bytes after the last member"):
        check_privacy(shard_dir, records)
    spoilt = bytearray(data)
    spoilt[265:270] = b"Smith"  # owner's name in the first header, with its checksum
    spoilt[148:156] = b" " * 8
    spoilt[148:156] = b"%06o\0 " % sum(spoilt[:512])
    path.write_bytes(spoilt)
    with pytest.raises(ShardError, match="a tar header is not as we write it"):
        check_privacy(shard_dir, records)


def test_the_manifest_is_searched(built):
    records, shard_dir = built
    manifest = read_manifest(shard_dir)
    build_facts = {**manifest.build, "note": "for EXAM-7 alone"}
    (shard_dir / MANIFEST_NAME).unlink()
    write_manifest(
        shard_dir,
        shards=manifest.shards,
        files=list_files(shard_dir, shards=manifest.shards),
        build=build_facts,
    )
    with pytest.raises(ShardError, match="manifest.json holds the exam_id of row 8"):
        check_privacy(shard_dir, records)
