"""One rank, in this process; two ranks are in test_two_ranks."""

import threading
import time

import pytest
import torch

from retfm_dist.errors import CheckpointError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint import saver as saver_module
from retfm_dist.train.checkpoint.folder import Retention, list_checkpoints
from retfm_dist.train.checkpoint.layout import Stretch
from retfm_dist.train.checkpoint.read import open_checkpoint
from retfm_dist.train.checkpoint.saver import Saver, Status
from retfm_dist.train.checkpoint.verify import verify_checkpoint
from retfm_dist.train.run_dir import RunDir

LIMIT_S = 20


@pytest.fixture
def values():
    return torch.arange(6.0)


@pytest.fixture
def saver(tmp_path):
    found = Saver(
        RunDir(tmp_path),
        num_values=6,
        retention=Retention(keep_last=2, keep_every=0),
        ranks=Ranks(),
        device=torch.device("cpu"),
    )
    yield found
    found.close()


@pytest.fixture
def gate(monkeypatch):
    """Holds every write back until it is set."""
    opened, write = threading.Event(), saver_module.write_part

    def write_later(*args):
        assert opened.wait(LIMIT_S)
        return write(*args)

    monkeypatch.setattr(saver_module, "write_part", write_later)
    return opened


def begin(saver, step, values):
    owned = [(Stretch("weights", "a", 0), values)]
    return saver.begin(step, owned, {"step": step, "shapes": {"a": [2, 3]}})


def advance_to_the_end(saver):
    deadline = time.monotonic() + LIMIT_S
    while saver.is_saving:
        assert time.monotonic() < deadline
        saver.advance(saver.status)


def test_what_is_saved_is_the_state_at_its_step_whatever_comes_later(tmp_path, saver, values, gate):
    begin(saver, 4, values)
    assert saver.status == Status.BUSY
    values.fill_(-1)  # the next update
    saver.advance(saver.status)
    assert list_checkpoints(tmp_path) == []
    gate.set()
    advance_to_the_end(saver)
    assert saver.status == Status.IDLE
    (directory,) = list_checkpoints(tmp_path)
    verify_checkpoint(directory)
    assert open_checkpoint(directory).weights["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert RunDir(tmp_path).saved_path.exists()


def test_the_next_save_waits_for_the_one_before(tmp_path, saver, values, gate):
    assert begin(saver, 2, values) < LIMIT_S / 2
    threading.Timer(0.3, gate.set).start()
    assert begin(saver, 4, values) > 0.1
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000002"]
    saver.finish()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000002", "step_00000004"]
    assert not saver.is_saving


def test_old_ones_go_when_a_newer_one_is_committed(tmp_path, saver, values):
    for step in (2, 4, 6):
        begin(saver, step, values)
    saver.finish()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000004", "step_00000006"]


@pytest.mark.parametrize("what", ["write_part", "commit_checkpoint", "write_json"])
def test_a_disk_that_refuses_is_said_and_nothing_is_left(
    tmp_path, saver, values, monkeypatch, what
):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    begin(saver, 2, values)
    saver.finish()
    monkeypatch.setattr(saver_module, what, full)
    begin(saver, 4, values)
    with pytest.raises((CheckpointError, OSError), match="No space left"):
        saver.finish()
    assert not saver.is_saving
    left = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert "step_00000002" in left
    assert not [name for name in left if name.startswith(".")]


def test_closed_in_the_middle_it_leaves_no_checkpoint(tmp_path, saver, values, gate):
    begin(saver, 2, values)
    gate.set()
    saver.close()
    assert list_checkpoints(tmp_path) == []
