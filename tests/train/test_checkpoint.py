import errno
import json
import logging
import os
import random
import shutil

import pytest
import torch

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint import (
    find_checkpoint,
    list_checkpoints,
    open_checkpoint,
    prune_checkpoints,
    read_weights,
    remove_leftovers,
    set_aside,
    verify_checkpoint,
    write_checkpoint,
)

FILES = ["weights.safetensors", "moments.safetensors", "state.json", "manifest.json"]


def write(run_dir, step):
    generator = torch.Generator().manual_seed(step)
    weights = {name: torch.randn(3, 5, generator=generator) for name in ("a.weight", "table")}
    moments = {key: {"a.weight": torch.randn(3, 5)} for key in ("exp_avg", "exp_avg_sq")}
    directory = run_dir / "checkpoints" / f"step_{step:08d}"
    write_checkpoint(directory, weights=weights, moments=moments, state={"step": step})
    return directory, weights, moments


def flip_bit(path, at):
    content = bytearray(path.read_bytes())
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)


def test_what_was_written_is_read_back_bit_for_bit(tmp_path):
    directory, weights, moments = write(tmp_path, 7)
    assert sorted(path.name for path in directory.iterdir()) == sorted(FILES)
    verify_checkpoint(directory)
    checkpoint = open_checkpoint(directory)
    assert dict(checkpoint.weights).keys() == weights.keys()
    assert len(checkpoint.weights) == 2
    for name, tensor in weights.items():
        assert torch.equal(checkpoint.weights[name], tensor)
    for key, part in moments.items():
        assert dict(checkpoint.moments[key]).keys() == part.keys()
        assert torch.equal(checkpoint.moments[key]["a.weight"], part["a.weight"])
    with pytest.raises(KeyError):
        checkpoint.moments["exp_avg"]["table"]
    read, state = read_weights(directory)
    assert read.keys() == weights.keys()
    assert state["step"] == 7


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_found(tmp_path, name):
    directory, *_ = write(tmp_path, 1)
    whole = (directory / name).read_bytes()
    positions = random.Random(0).sample(range(len(whole) * 8), 25)
    for at in positions:
        flip_bit(directory / name, at)
        # A space of the manifest's own layout may become another blank without changing it.
        if name != "manifest.json" or _differs(directory / name, whole):
            with pytest.raises(CheckpointError, match="damaged|missing|unknown|another size"):
                verify_checkpoint(directory)
        (directory / name).write_bytes(whole)
    verify_checkpoint(directory)


def _differs(path, whole):
    try:
        return json.loads(path.read_bytes()) != json.loads(whole)
    except ValueError:
        return True


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_or_gone_is_found(tmp_path, name):
    directory, *_ = write(tmp_path, 1)
    whole = (directory / name).read_bytes()
    (directory / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="has another size|damaged manifest"):
        verify_checkpoint(directory)
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match="missing|no manifest"):
        verify_checkpoint(directory)


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    directory, *_ = write(tmp_path, 1)
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(CheckpointError, match="unknown checkpoint format; got 99, expected 1"):
        verify_checkpoint(directory)


def test_the_newest_whole_checkpoint_is_found_and_damaged_ones_passed_over(tmp_path, caplog):
    older, *_ = write(tmp_path, 10)
    newer, *_ = write(tmp_path, 20)
    assert find_checkpoint(tmp_path) == newer
    flip_bit(newer / "weights.safetensors", 1234)
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
    prune_checkpoints(tmp_path, keep_last=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000006", "step_00000008"]
    prune_checkpoints(tmp_path, keep_last=5)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_leftovers_of_killed_processes_are_no_checkpoints_and_go(tmp_path):
    directory, *_ = write(tmp_path, 2)
    leftover = tmp_path / "checkpoints" / ".step_00000004.partial"
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


def test_a_write_that_fails_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    kept, *_ = write(tmp_path, 2)
    monkeypatch.setattr("retfm_dist.train.checkpoint.write_json", full)
    with pytest.raises(CheckpointError, match="cannot write the checkpoint; got .*No space left"):
        write(tmp_path, 4)
    assert list((tmp_path / "checkpoints").iterdir()) == [kept]


def test_a_newer_version_s_checkpoint_is_not_passed_over(tmp_path):
    write(tmp_path, 10)
    newer, *_ = write(tmp_path, 20)
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(CheckpointError, match="unknown checkpoint format; got 2, expected 1"):
        find_checkpoint(tmp_path)


def test_storage_that_fails_to_read_is_no_damage(tmp_path, monkeypatch):
    write(tmp_path, 10)
    write(tmp_path, 20)

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("retfm_dist.train.checkpoint.sha256_file", fail)
    with pytest.raises(
        CheckpointError, match="step_00000020.*cannot read the checkpoint; got Input"
    ):
        find_checkpoint(tmp_path)


def test_whoever_may_read_one_file_may_read_all(tmp_path):
    before = os.umask(0o027)
    try:
        directory, _, _ = write(tmp_path, 7)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o640}


def test_the_state_of_another_step_under_a_checkpoints_name_is_passed_over(tmp_path):
    older, _, _ = write(tmp_path, 4)
    newer, _, _ = write(tmp_path, 6)
    newer.rename(newer.with_name("step_00000009"))
    with pytest.raises(
        CheckpointError, match="another step under this name; got step 6, expected step 9"
    ):
        verify_checkpoint(newer.with_name("step_00000009"))
    assert find_checkpoint(tmp_path) == older
    copied = shutil.copytree(older, tmp_path / "backup")
    verify_checkpoint(copied)  # a name of one's own says nothing


def test_a_directory_in_place_of_a_manifest_does_not_block_the_older_one(tmp_path):
    older, _, _ = write(tmp_path, 4)
    newer, _, _ = write(tmp_path, 6)
    (newer / "manifest.json").unlink()
    (newer / "manifest.json").mkdir()
    assert find_checkpoint(tmp_path) == older
