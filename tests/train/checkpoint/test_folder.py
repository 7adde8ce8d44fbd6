import errno
import json
import logging
import shutil

import pytest

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import (
    Retention,
    find_checkpoint,
    list_checkpoints,
    prune_checkpoints,
    remove_leftovers,
    set_aside,
)
from tests.fakes.checkpoints import flip_bit, write


def test_the_newest_whole_checkpoint_is_found_and_damaged_ones_passed_over(tmp_path, caplog):
    older, *_ = write(tmp_path, 10)
    newer, *_ = write(tmp_path, 20)
    assert find_checkpoint(tmp_path) == newer
    flip_bit(newer / "rank_0001.safetensors", 1234)
    with caplog.at_level(logging.WARNING):
        assert find_checkpoint(tmp_path) == older
    assert "passed over" in caplog.text
    assert "step_00000020" in caplog.text


def test_no_checkpoint_and_only_damaged_ones_are_told_apart(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint; expected checkpoints/step_"):
        find_checkpoint(tmp_path)
    for step in (1, 2):
        directory, *_ = write(tmp_path, step)
        (directory / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="all 2 checkpoints are damaged"):
        find_checkpoint(tmp_path)


def test_the_oldest_checkpoints_go(tmp_path):
    for step in (2, 4, 6, 8):
        write(tmp_path, step)
    prune_checkpoints(tmp_path, Retention(2, 0))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000006", "step_00000008"]
    prune_checkpoints(tmp_path, Retention(5, 0))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_checkpoints_of_a_multiple_stay_for_ever(tmp_path):
    for step in (2, 4, 6, 8, 9):
        write(tmp_path, step)
    for _ in range(2):
        prune_checkpoints(tmp_path, Retention(1, 4))
        steps = [path.name for path in list_checkpoints(tmp_path)]
        assert steps == ["step_00000004", "step_00000008", "step_00000009"]


def test_a_checkpoint_in_use_stays_until_it_is_not(tmp_path):
    for step in (2, 4, 6):
        write(tmp_path, step)
    oldest = list_checkpoints(tmp_path)[0]
    prune_checkpoints(tmp_path, Retention(1, 0), in_use={oldest})
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000002", "step_00000006"]
    prune_checkpoints(tmp_path, Retention(1, 0))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000006"]


def test_leftovers_of_killed_processes_are_no_checkpoints_and_go(tmp_path):
    directory, *_ = write(tmp_path, 2)
    leftover = tmp_path / "checkpoints" / ".step_00000004.1a2b3c4d.partial"
    shutil.copytree(directory, leftover)
    assert list_checkpoints(tmp_path) == [directory]
    remove_leftovers(tmp_path)
    assert not leftover.exists()
    assert directory.exists()


def test_a_damaged_checkpoint_set_aside_makes_room_for_its_step(tmp_path):
    for _ in range(2):
        directory, *_ = write(tmp_path, 4)
        set_aside(directory)
        assert list_checkpoints(tmp_path) == []
    assert (tmp_path / "checkpoints" / "step_00000004.damaged").is_dir()


def test_a_newer_version_s_checkpoint_is_not_passed_over(tmp_path):
    write(tmp_path, 10)
    newer, *_ = write(tmp_path, 20)
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))
    with pytest.raises(CheckpointError, match="unknown checkpoint format; got 3, expected 2"):
        find_checkpoint(tmp_path)


def test_storage_that_fails_to_read_is_no_damage(tmp_path, monkeypatch):
    write(tmp_path, 10)
    write(tmp_path, 20)

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("retfm_dist.train.checkpoint.verify.sha256_file", fail)
    with pytest.raises(
        CheckpointError, match="step_00000020.*cannot read the checkpoint; got Input"
    ):
        find_checkpoint(tmp_path)


def test_a_directory_in_place_of_a_manifest_does_not_block_the_older_one(tmp_path):
    older, _, _ = write(tmp_path, 4)
    newer, _, _ = write(tmp_path, 6)
    (newer / "manifest.json").unlink()
    (newer / "manifest.json").mkdir()
    assert find_checkpoint(tmp_path) == older
