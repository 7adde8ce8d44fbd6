import os

import pytest

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.commit import commit_checkpoint, staging_path
from retfm_dist.train.checkpoint.folder import list_checkpoints
from tests.fakes.checkpoints import write


def test_two_starts_of_a_job_gather_their_parts_apart(tmp_path):
    directory = tmp_path / "step_00000004"
    one, other = (staging_path(directory, start_id) for start_id in ("1a", "2b"))
    assert one != other
    assert one.name.startswith(".step_00000004.")
    assert one.name.endswith(".partial")


def test_what_cannot_be_committed_is_no_checkpoint(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    kept, *_ = write(tmp_path, 2)
    monkeypatch.setattr("retfm_dist.train.checkpoint.commit.write_json", full)
    with pytest.raises(CheckpointError, match="cannot write the checkpoint; got .*No space left"):
        write(tmp_path, 4)
    assert list_checkpoints(tmp_path) == [kept]


def test_a_checkpoint_that_exists_is_not_replaced(tmp_path):
    directory, *_ = write(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    staging = staging_path(directory, "x")
    staging.mkdir()
    with pytest.raises(CheckpointError, match="not empty"):
        commit_checkpoint(directory, staging=staging, state={"step": 2, "shapes": {}}, parts=[])
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_whoever_may_read_one_file_may_read_all(tmp_path):
    before = os.umask(0o027)
    try:
        directory, _, _ = write(tmp_path, 7)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o640}
