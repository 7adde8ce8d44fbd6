"""Building: what a set holds, what it never holds, and what happens to bad images."""

import csv
import dataclasses
import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from retfm_dist.cohort.pseudonym import make_pseudonym
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.durable import sha256_file
from retfm_dist.errors import RetfmError, ShardError
from retfm_dist.image.read import decode_image
from retfm_dist.shard.build import build_shards
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.manifest import read_manifest
from retfm_dist.shard.packing.options import BuildOptions
from retfm_dist.shard.packing.rejects import rejects_path
from tests.fakes.archive import SALT, as_parquet, build, draw_eye, read_tree, write_archive


def read_members(shard_set):
    """Return all members of all tars by name, in order."""
    members = {}
    for path in sorted(shard_set.glob("*.tar")):
        with tarfile.open(path) as archive:
            members |= {info.name: archive.extractfile(info).read() for info in archive}
    return members


def read_rejects(path):
    with path.open(newline="") as file:
        return [(int(row["row"]), row["stage"], row["reason"]) for row in csv.DictReader(file)]


@pytest.fixture
def own_archive(tmp_path):
    """A table of twelve good images that the test may spoil."""
    return write_archive(tmp_path / "archive")


def image_path(table, number):
    return table.parent / "clinic" / f"doe_{number:03d}.jpg"


def test_a_set_has_the_documented_files(shard_set):
    manifest = read_manifest(shard_set)
    assert len(manifest.shards) > 1
    expected = {
        "manifest.json",
        "samples.parquet",
        "rejects.csv",
        "duplicates.csv",
        "cohort.json",
        "cohort.md",
        "set.index",
    }
    for shard in manifest.shards:
        expected |= {shard.name, shard.index_name, shard.dali_index_name}
    assert {path.name for path in shard_set.iterdir()} == expected
    assert [shard.name for shard in manifest.shards] == [
        f"{number:06d}.tar" for number in range(len(manifest.shards))
    ]
    assert manifest.num_samples == sum(shard.num_samples for shard in manifest.shards) == 12
    for entry in (*manifest.shards, *manifest.files):
        path = shard_set / entry.name
        assert (entry.num_bytes, entry.sha256) == (path.stat().st_size, sha256_file(path))


def test_images_and_facts_stand_side_by_side(shard_set, archive):
    records = {record.row: record for record in read_archive_table(archive)}
    by_uid = {sha256_file(archive.parent / r.image_path)[:16]: r for r in records.values()}
    members = read_members(shard_set)
    names = list(members)
    assert len(names) == 24
    for image_name, facts_name in zip(names[::2], names[1::2], strict=True):
        key = image_name.removesuffix(".jpg")
        assert facts_name == f"{key}.json"
        facts = json.loads(members[facts_name])
        record = by_uid[facts["uid"]]
        subject_id = make_pseudonym(record.patient_id, SALT)
        assert facts["key"] == key == f"{subject_id}-{facts['uid']}"
        assert (facts["subject_id"], facts["eye"]) == (subject_id, record.eye)
        assert (facts["sex"], facts["device"], facts["site"]) == (record.sex, "Camera", "north")
        assert facts["age"] == min(record.age, 90)
        assert facts["labels"] == {"label_dr": record.labels["label_dr"]}
        assert (facts["source_height"], facts["source_width"]) == (120, 140)
        assert facts["field_of_view"]["radius"] == pytest.approx(55.2, abs=1)
        assert (
            decode_image(members[image_name]).shape
            == (facts["height"], facts["width"], 3)
            == (48, 48, 3)
        )


def test_index_table_and_tar_agree(shard_set):
    rows = pq.read_table(shard_set / "samples.parquet").to_pylist()
    members = read_members(shard_set)
    position = 0
    for shard in read_manifest(shard_set).shards:
        data = (shard_set / shard.name).read_bytes()
        for record in read_sample_index(shard_set / shard.index_name):
            row = rows[position]
            jpeg = data[int(record["offset"]) : int(record["offset"]) + int(record["size"])]
            assert jpeg == members[f"{row['key']}.jpg"]
            assert (row["uid"], row["shard"]) == (record["uid"], shard.name)
            assert (row["height"], row["width"]) == (record["height"], record["width"]) == (48, 48)
            assert row["source_sha256"][:16] == f"{record['uid']:016x}" == row["key"][-16:]
            assert len(row["perceptual_hash"]) == 64
            position += 1
    assert position == len(rows)
    assert {row["label_dr"] for row in rows} == {"0", "1", "2"}


def test_nothing_in_a_set_identifies_anyone(archive, tmp_path):
    build(archive, tmp_path / "set", keep_columns=["site"])
    tree = read_tree(tmp_path / "set")
    secrets = [
        b"doe",
        b"NHS-",
        b"EXAM",
        b"Ann",
        b"clinic",
        b"archive",
        SALT,
        str(tmp_path).encode(),
    ]
    for name, data in tree.items():
        assert not [secret for secret in secrets if secret in data or secret in name.encode()], name
    for path in (tmp_path / "set").glob("*.parquet"):
        text = repr(pq.read_table(path).to_pylist()) + repr(pq.read_metadata(path))
        assert not [secret for secret in secrets if secret.decode() in text]


def test_rebuilding_gives_the_same_bytes_with_any_number_of_workers(archive, shard_set, tmp_path):
    build(archive, tmp_path / "again", workers=2)
    assert read_tree(tmp_path / "again") == read_tree(shard_set)


def test_the_order_of_the_table_does_not_matter(archive, shard_set, tmp_path):
    records = read_archive_table(archive)[::-1]
    options = BuildOptions(images_dir=archive.parent, salt=SALT, size=48, shard_mb=0.02, workers=1)
    build_shards(records, options, tmp_path / "set")
    assert read_tree(tmp_path / "set") == read_tree(shard_set)


def uids(shard_set):
    return pq.read_table(shard_set / "samples.parquet")["uid"].to_pylist()


def test_seed_changes_the_order_and_size_does_not_change_uids(archive, shard_set, tmp_path):
    build(archive, tmp_path / "seeded", seed=1)
    build(archive, tmp_path / "larger", size=96)
    assert uids(tmp_path / "seeded") != uids(shard_set)
    assert sorted(uids(tmp_path / "seeded")) == sorted(uids(shard_set))
    assert uids(tmp_path / "larger") == uids(shard_set)
    prints = {read_manifest(path).fingerprint for path in (*tmp_path.iterdir(), shard_set)}
    assert len(prints) == 3


def test_one_large_limit_gives_one_shard(archive, tmp_path):
    summary = build(archive, tmp_path / "set", shard_mb=256)
    assert (summary.num_shards, summary.num_samples, summary.rejected) == (1, 12, {})
    manifest = read_manifest(tmp_path / "set")
    assert summary.num_bytes == manifest.shards[0].num_bytes
    assert manifest.build["shard_mb"] == 256.0


def test_bad_images_are_listed_and_left_out(own_archive, tmp_path):
    image_path(own_archive, 0).unlink()
    image_path(own_archive, 3).write_bytes(image_path(own_archive, 3).read_bytes()[:900])
    image_path(own_archive, 5).write_text("text\n")
    Image.new("RGB", (90, 90), (9, 9, 9)).save(image_path(own_archive, 7))
    summary = build(own_archive, tmp_path / "set", max_reject_ratio=0.34)
    assert summary.num_samples == 8
    assert summary.rejected == {"decode": 2, "field_of_view": 1, "read": 1}
    rejects = read_rejects(tmp_path / "set" / "rejects.csv")
    assert [(row, stage) for row, stage, _ in rejects] == [
        (1, "read"), (4, "decode"), (6, "decode"), (8, "field_of_view"),
    ]  # fmt: skip
    assert "garbled" in rejects[1][2]
    text = (tmp_path / "set" / "rejects.csv").read_text()
    assert text.splitlines()[1].split(",")[1] == make_pseudonym("NHS-0000", SALT)
    assert json.loads((tmp_path / "set" / "cohort.json").read_text())["num_images"] == 8


def test_too_many_bad_images_end_the_build_with_the_list_beside(own_archive, tmp_path):
    for number in (0, 1, 4):
        image_path(own_archive, number).unlink()
    out_dir = tmp_path / "sets" / "set"
    with pytest.raises(
        ShardError,
        match=r"3 of 12 \(3 x \[read: no such file\]\), expected at most 1.00%",
    ):
        build(own_archive, out_dir)
    assert {path.name for path in out_dir.parent.iterdir()} == {".set.partial", "set.rejects.csv"}
    assert [row for row, _, _ in read_rejects(rejects_path(out_dir))] == [1, 2, 5]
    build(own_archive, out_dir, max_reject_ratio=0.25)
    assert [path.name for path in out_dir.parent.iterdir()] == ["set"]


def test_a_build_is_given_up_as_soon_as_it_is_hopeless(tmp_path):
    table = write_archive(tmp_path / "archive", count=400)
    for number in range(0, 130):
        image_path(table, number).write_bytes(b"no photograph")
    with pytest.raises(ShardError, match="got 100 of 400 after the first 100"):
        build(table, tmp_path / "set")


def test_a_table_without_a_usable_image_is_refused(own_archive, tmp_path):
    for number in range(12):
        image_path(own_archive, number).unlink()
    with pytest.raises(ShardError, match="too many images are unusable; got 12 of 12"):
        build(own_archive, tmp_path / "set", max_reject_ratio=1)
    assert not (tmp_path / "set").exists()


def test_duplicates_are_listed_but_do_not_count_as_failures(own_archive, tmp_path, caplog):
    image_path(own_archive, 1).write_bytes(image_path(own_archive, 0).read_bytes())
    image_path(own_archive, 9).write_bytes(image_path(own_archive, 0).read_bytes())
    summary = build(own_archive, tmp_path / "set", max_reject_ratio=0)
    assert (summary.num_samples, summary.rejected) == (10, {"duplicate": 2})
    assert read_rejects(tmp_path / "set" / "rejects.csv") == [
        (2, "duplicate", "same content as row 1"),
        (10, "duplicate", "same content as row 1, of another patient"),
    ]
    assert "2 images left out as duplicates" in caplog.text


def facts_of(shard_set):
    return [json.loads(data) for name, data in read_members(shard_set).items() if "json" in name]


def test_pictures_without_a_circle_are_quarantined_unless_accepted(own_archive, tmp_path, caplog):
    draw_eye(30, side=400).crop((120, 120, 300, 300)).save(image_path(own_archive, 2))
    named = draw_eye(5, side=300)
    ImageDraw.Draw(named).text((30, 40), "DOE JANE 1950 " * 2, fill=(255, 255, 255), font_size=16)
    named.save(image_path(own_archive, 5))
    summary = build(own_archive, tmp_path / "strict", max_reject_ratio=0)
    assert (summary.kinds, summary.rejected) == ({"circle": 10}, {"quarantine": 2})
    text = (tmp_path / "strict" / "rejects.csv").read_text().splitlines()
    assert [line.split(",")[2:4] for line in text[1:]] == [
        ["quarantine", "frame"],
        ["quarantine", "strokes"],
    ]
    assert (
        "1 images in quarantine (frame): listed in rejects.csv and not packed; --accept frame"
        in caplog.text
    )
    summary = build(own_archive, tmp_path / "set", accept=["frame", "strokes"])
    assert (summary.kinds, summary.rejected) == ({"circle": 10, "frame": 1, "strokes": 1}, {})
    kinds = sorted(fact["field_of_view"]["kind"] for fact in facts_of(tmp_path / "set"))
    assert kinds == ["circle"] * 10 + ["frame", "strokes"]
    table = pq.read_table(tmp_path / "set" / "samples.parquet")
    assert sorted(table["kind"].to_pylist()) == kinds


def test_other_modalities_are_quarantined_unless_asked_for(own_archive, tmp_path):
    lines = own_archive.read_text().splitlines()
    spelled = ["modality", "CFP", "OCT", "", "colour fundus photograph", *["fundus"] * 8]
    own_archive.write_text(
        "\n".join(f"{line},{word}" for line, word in zip(lines, spelled, strict=True))
    )
    image_path(own_archive, 1).write_bytes(b"no photograph, and never looked at")
    summary = build(own_archive, tmp_path / "set", max_reject_ratio=0)
    assert (summary.num_samples, summary.rejected) == (11, {"quarantine": 1})
    assert (
        (tmp_path / "set" / "rejects.csv")
        .read_text()
        .splitlines()[1]
        .endswith("quarantine,modality,of another modality")
    )
    own_archive.write_text(own_archive.read_text().replace(",\n", ",OCT\n"))
    with pytest.raises(ShardError, match="no image is left to pack; got 12 of 12.*--modality"):
        build(own_archive, tmp_path / "none", modalities=["slit lamp"])


def test_near_duplicates_are_reported_or_left_out(own_archive, tmp_path, caplog):
    with Image.open(image_path(own_archive, 0)) as image:
        image.save(image_path(own_archive, 1), quality=85)
        image.save(image_path(own_archive, 9), quality=80)
    summary = build(own_archive, tmp_path / "exact")
    assert (summary.num_samples, summary.rejected) == (12, {})
    lines = (tmp_path / "exact" / "duplicates.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[0] for line in lines] == [
        "row,first_row,kind,same_patient,same_labels", "2,1,near,1,0", "10,1,near,0,1",
    ]  # fmt: skip
    assert "2 images are near duplicates of others and packed" in caplog.text
    assert "2 pairs of the same picture are of different patients, eyes or labels" in caplog.text
    summary = build(own_archive, tmp_path / "near", duplicates="near", max_reject_ratio=0)
    assert (summary.num_samples, summary.rejected) == (10, {"duplicate": 2})
    reasons = [reason for _, _, reason in read_rejects(tmp_path / "near" / "rejects.csv")]
    assert reasons == ["same picture as row 1", "same picture as row 1, of another patient"]
    with pytest.raises(
        ShardError,
        match="different patients, eyes or labels; got 2 pairs, first rows 1 and 2, 1 and 10",
    ):
        build(own_archive, tmp_path / "none", duplicates="refuse")


def test_very_old_age_is_capped(shard_set):
    ages = pq.read_table(shard_set / "samples.parquet")["age"].to_numpy()
    assert sorted(ages)[-3:] == [85, 90, 90]
    assert np.isfinite(ages).all()


def test_an_existing_output_is_refused_and_untouched(archive, tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(RetfmError, match="set: already exists; choose another output"):
        build(archive, tmp_path / "set")
    assert list((tmp_path / "set").iterdir()) == []


def test_an_output_that_cannot_be_written_is_one_error(archive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardError, match="cannot write the shard set; got"):
        build(archive, tmp_path / "file" / "set")


def test_a_kept_column_cannot_shadow_the_table(own_archive, tmp_path):
    text = own_archive.read_text().replace("nurse", "shard")
    own_archive.write_text(text)
    with pytest.raises(ShardError, match="name of a column of samples.parquet; got shard"):
        build(own_archive, tmp_path / "set", keep_columns=["shard"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 8}, "size is out of range; got 8, expected 32 to"),
        ({"quality": 101}, "quality is out of range"),
        ({"shard_mb": 0}, "shard_mb is out of range"),
        ({"seed": -1}, "seed is out of range"),
        ({"max_reject_ratio": 1.5}, "max_reject_ratio is out of range"),
        ({"workers": 0}, "workers is out of range"),
        ({"image_timeout_s": 0}, "image_timeout_s is out of range"),
        ({"accept": ["noise"]}, "unknown value of accept; got noise, expected frame or strokes"),
        ({"duplicates": "all"}, "unknown value of duplicates; got all, expected exact or near or"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, change, message):
    options = BuildOptions(images_dir=tmp_path, salt=SALT)
    with pytest.raises(ShardError, match=message):
        dataclasses.replace(options, **change)


def test_a_missing_image_directory_is_refused(tmp_path):
    with pytest.raises(ShardError, match="none: the image directory does not exist"):
        BuildOptions(images_dir=tmp_path / "none", salt=SALT)
    assert "0123" not in repr(BuildOptions(images_dir=tmp_path, salt=SALT))


def test_a_parquet_table_gives_the_same_bytes_and_goes_on_where_one_in_csv_ended(
    own_archive, tmp_path, monkeypatch
):
    for name in ("csv", "parquet"):
        build(as_parquet(own_archive) if name == "parquet" else own_archive, tmp_path / name)
    assert read_tree(tmp_path / "parquet") == read_tree(tmp_path / "csv")

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("retfm_dist.shard.build.ShardWriter.write", stop)
        with pytest.raises(KeyboardInterrupt):
            build(own_archive, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    build(own_archive.with_suffix(".parquet"), tmp_path / "set")
    assert read_tree(tmp_path / "set") == read_tree(tmp_path / "csv")


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_too_many_unusable_images_stop_a_build_of_either_table(own_archive, tmp_path, name):
    for number in range(0, 12, 2):
        image_path(own_archive, number).write_bytes(b"nothing")
    table = own_archive if name == "csv" else as_parquet(own_archive)
    with pytest.raises(ShardError, match="too many images are unusable; got 6 of 12"):
        build(table, tmp_path / "set")
    assert len(read_rejects(rejects_path(tmp_path / "set"))) == 6
