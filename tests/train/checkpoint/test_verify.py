import json
import random
import shutil

import pytest

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import find_checkpoint
from retfm_dist.train.checkpoint.verify import verify_checkpoint
from tests.fakes.checkpoints import flip_bit, write

FILES = ["rank_0000.safetensors", "rank_0001.safetensors", "state.json", "manifest.json"]


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
    with pytest.raises(CheckpointError, match="unknown checkpoint format; got 99, expected 2"):
        verify_checkpoint(directory)


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


def test_a_manifest_that_leaves_out_a_part_is_damaged(tmp_path):
    directory, *_ = write(tmp_path, 1)
    manifest = json.loads((directory / "manifest.json").read_text())
    part = manifest["files"].pop("rank_0001.safetensors")
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="damaged manifest"):
        verify_checkpoint(directory)
    manifest["files"] |= {"rank_0001.safetensors": part, "rank_0002.safetensors": part}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="damaged manifest"):
        verify_checkpoint(directory)
