import shutil

import pyarrow.parquet
import pytest

from retfm_dist.cohort.membership import read_membership
from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import read_manifest, write_manifest
from retfm_dist.shard.members import write_members


def test_every_image_and_patient_of_a_set_is_a_member(shard_set, tmp_path):
    manifest = read_manifest(shard_set)
    write_members([shard_set], tmp_path / "m.npz", fingerprint=manifest.fingerprint)
    found = read_membership(tmp_path / "m.npz")
    table = pyarrow.parquet.read_table(shard_set / "samples.parquet").to_pydict()
    assert found.fingerprint == manifest.fingerprint
    assert found.salt_id == manifest.build["salt_id"]
    assert found.has_images([f"{uid:016x}" for uid in table["uid"]]).all()
    assert found.has_images([sha[:16] for sha in table["source_sha256"]]).all()
    assert found.has_patients(table["subject_id"]).all()
    assert found.has_copies(table["perceptual_hash"]).all()
    assert (len(found.images), len(found.patients)) == (12, 6)


def test_a_set_without_a_table_has_no_members_and_a_damaged_table_is_an_error(shard_set, tmp_path):
    copy = shutil.copytree(shard_set, tmp_path / "copy")
    (copy / "samples.parquet").write_bytes(b"text")
    with pytest.raises(ShardError, match="samples.parquet: cannot read the table of the set"):
        write_members([shard_set, copy], tmp_path / "m.npz", fingerprint="f")
    (copy / "samples.parquet").unlink()
    write_members([shard_set, copy], tmp_path / "m.npz", fingerprint="f")
    assert not (tmp_path / "m.npz").exists()


def test_several_sets_have_the_members_of_all_and_a_salt_if_it_is_one(shard_set, tmp_path):
    copy = shutil.copytree(shard_set, tmp_path / "copy")
    write_members([shard_set, copy], tmp_path / "m.npz", fingerprint="both")
    found = read_membership(tmp_path / "m.npz")
    assert (found.fingerprint, len(found.images), len(found.patients)) == ("both", 12, 6)
    assert found.salt_id == read_manifest(shard_set).build["salt_id"]
    manifest = read_manifest(copy)
    build = {**manifest.build, "salt_id": "another"}
    write_manifest(copy, shards=manifest.shards, files=manifest.files, build=build)
    write_members([shard_set, copy], tmp_path / "m.npz", fingerprint="both")
    assert read_membership(tmp_path / "m.npz").salt_id is None
