import logging
import shutil
import threading
import time

import pytest

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import Retention, list_checkpoints
from retfm_dist.train.copier import Copier
from retfm_dist.train.run_copy import RunCopy
from retfm_dist.train.run_dir import RunDir
from tests.fakes.checkpoints import bits_of
from tests.fakes.training import run_fit, tiny_config


class SlowCopy:
    """Copies when it is allowed to."""

    address = "slow://copy"

    def __init__(self):
        self.may = threading.Semaphore(0)
        self.has_begun = threading.Event()
        self.put_names, self.records, self.error = [], 0, None

    def put(self, checkpoint_dir):
        self.has_begun.set()
        assert self.may.acquire(timeout=10)
        if self.error is not None:
            raise self.error
        self.put_names.append(checkpoint_dir.name)

    def prune(self, retention):
        assert retention == Retention(2, 0)

    def put_records(self):
        self.records += 1


def test_one_that_waits_gives_way_to_a_newer_and_what_is_copied_stays(tmp_path):
    copy = SlowCopy()
    copier = Copier(copy)
    first, second, third = (tmp_path / name for name in ("step_1", "step_2", "step_3"))
    copier.offer(first, Retention(2, 0))
    assert copy.has_begun.wait(10)
    copier.offer(second, Retention(2, 0))
    assert copier.in_use == {first, second}
    copier.offer(third, Retention(2, 0))
    assert copier.in_use == {first, third}
    copy.may.release(2)
    copier.finish()
    assert copy.put_names == ["step_1", "step_3"]
    assert copy.records == 1
    assert copier.in_use == set()


def test_a_failure_is_said_and_the_next_is_tried(tmp_path, caplog):
    copy = SlowCopy()
    copier = Copier(copy)
    copy.error = TimeoutError("no answer within 60 s")
    copier.offer(tmp_path / "step_1", Retention(2, 0))
    copy.may.release(1)
    copier.finish()
    assert (
        "step_1: not copied to slow://copy; got TimeoutError: no answer within 60 s" in caplog.text
    )
    copy.error = None
    copier.offer(tmp_path / "step_2", Retention(2, 0))
    copy.may.release(1)
    copier.finish()
    assert copy.put_names == ["step_2"]


def test_a_checkpoint_that_has_gone_meanwhile_is_no_failure(tmp_path, caplog):
    copy = SlowCopy()
    copier = Copier(copy)
    copy.error = FileNotFoundError("step_1/state.json")
    with caplog.at_level(logging.INFO):
        copier.offer(tmp_path / "step_1", Retention(2, 0))
        copy.may.release(1)
        copier.finish()
    assert "step_1 has gone, and is not copied" in caplog.text
    assert "got FileNotFoundError" not in caplog.text
    (tmp_path / "step_2").mkdir()
    copier.offer(tmp_path / "step_2", Retention(2, 0))
    copy.may.release(1)
    copier.finish()
    assert "step_2: not copied" in caplog.text  # no such bucket, for example


def test_a_host_that_lost_its_disk_ends_with_the_same_bits(tmp_path, device, caplog):
    """Cut off in the middle, moved to an empty disk, and started by the same command."""
    straight = tiny_config(tmp_path / "straight")
    run_fit(straight)
    place = tmp_path / "copy"
    config = tiny_config(tmp_path / "run", checkpoint__copy_to=f"file://{place}")
    manifest = RunDir(place).checkpoint_dir(4) / "manifest.json"

    run_fit(config, cut_at=5)
    # Not in the loader: a checkpoint is committed between steps.
    end = time.monotonic() + 60
    while not manifest.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [path.name for path in list_checkpoints(place)][-1] == "step_00000004"
    shutil.rmtree(config.run.dir)
    with caplog.at_level(logging.INFO):
        run_fit(config)
    assert "fetched step_00000004" in caplog.text
    last = [list_checkpoints(c.run.dir)[-1] for c in (config, straight)]
    assert bits_of(last[0]) == bits_of(last[1])
    assert len(RunDir(config.run.dir).metrics_path.read_text().splitlines()) == 6
    # The finished run is in the copy, too: on another empty disk there is nothing to do.
    assert (place / "DONE").exists()
    assert bits_of(list_checkpoints(place)[-1]) == bits_of(last[1])
    shutil.rmtree(config.run.dir)
    run_fit(config, build_model=lambda: pytest.fail("trains again"))


def test_a_finished_run_whose_last_copy_failed_is_copied_when_started_again(
    tmp_path, device, monkeypatch
):
    config = tiny_config(tmp_path / "run", checkpoint__copy_to=f"file://{tmp_path}/copy")

    def refuse(self, checkpoint_dir):
        raise TimeoutError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(RunCopy, "put", refuse)
        run_fit(config)
    copy = RunDir(tmp_path / "copy")
    assert not copy.done_path.exists()
    for _ in range(2):
        run_fit(config, build_model=lambda: pytest.fail("trains again"))
        assert copy.done_path.exists()
        last = [list_checkpoints(path)[-1] for path in (config.run.dir, copy.path)]
        assert bits_of(last[0]) == bits_of(last[1])


def test_another_run_is_refused_before_it_trains(tmp_path, device):
    place = f"file://{tmp_path}/copy"
    run_fit(tiny_config(tmp_path / "run", checkpoint__copy_to=place))
    run_fit(tiny_config(tmp_path / "other"), cut_at=5)
    metrics = RunDir(tmp_path / "other").metrics_path.read_text()
    for name, options in (("other", {}), ("run", {"fresh": True})):
        config = tiny_config(tmp_path / name, checkpoint__copy_to=place)
        with pytest.raises(CheckpointError, match="copy of another run"):
            run_fit(config, build_model=lambda: pytest.fail("trains"), **options)
    assert RunDir(tmp_path / "other").metrics_path.read_text() == metrics
