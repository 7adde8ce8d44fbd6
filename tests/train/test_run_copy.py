import logging
import shutil

import pytest

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import Retention, list_checkpoints
from retfm_dist.train.checkpoint.verify import verify_checkpoint
from retfm_dist.train.run_copy import RunCopy
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.skips import Window, write_windows
from tests.fakes.checkpoints import flip_bit, write_state
from tests.fakes.s3 import BUCKET, ENVIRONMENT, S3Server


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDir(tmp_path / "run")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "copy"


def copy_of(run_dir, place):
    return RunCopy(f"file://{place}", run_dir, timeout_s=1.0)


def save(run_dir, step, windows=()):
    return write_state(run_dir.path, step, {"rolled_back": list(windows)})


def names_in(place):
    # A directory without files is nothing in an object store.
    return sorted(path.parent.name for path in place.glob("checkpoints/*/manifest.json"))


def lose(run_dir):
    shutil.rmtree(run_dir.path)
    run_dir.path.mkdir()


def test_what_was_copied_comes_back_whole(run_dir, place, caplog):
    copy = copy_of(run_dir, place)
    copy.claim()
    begun = run_dir.begun_path.read_text()
    run_dir.metrics_path.write_text("a line\n")
    save(run_dir, 2)
    copy.put(save(run_dir, 4))
    assert names_in(place) == ["step_00000004"]
    lose(run_dir)
    with caplog.at_level(logging.WARNING):
        found = copy_of(run_dir, place).fetch()
    assert found == run_dir.checkpoint_dir(4)
    verify_checkpoint(found)
    assert run_dir.begun_path.read_text() == begun
    assert run_dir.metrics_path.read_text() == "a line\n"
    assert "fetched step_00000004 from file://" in caplog.text
    copy_of(run_dir, place).claim()  # still the same run


def test_pictures_of_patients_are_not_copied(run_dir, place):
    picture = run_dir.reconstruction_path(2)
    picture.parent.mkdir()
    picture.write_bytes(b"retina")
    copy_of(run_dir, place).put(save(run_dir, 2))
    assert not (place / "reconstructions").exists()


def test_a_run_that_has_its_checkpoints_fetches_nothing(run_dir, place):
    assert copy_of(run_dir, place).fetch() is None  # there is no copy
    copy_of(run_dir, place).put(save(run_dir, 4))
    shutil.rmtree(run_dir.checkpoint_dir(4))
    save(run_dir, 2)
    assert copy_of(run_dir, place).fetch() is None
    assert names_in(run_dir.path) == ["step_00000002"]


def test_the_copy_of_another_run_is_neither_taken_nor_written_over(run_dir, place, tmp_path):
    copy = copy_of(run_dir, place)
    copy.claim()
    copy.put(save(run_dir, 4))
    (tmp_path / "other").mkdir()
    other = RunDir(tmp_path / "other")
    other.begun_path.write_text('{"unix_s": 12.0}')
    for use in (copy_of(other, place).claim, copy_of(other, place).fetch):
        with pytest.raises(CheckpointError, match=r"copy of another run; got .*, expected 12, as"):
            use()
    assert not list_checkpoints(other.path)


@pytest.mark.parametrize("cut", ["before the manifest", "in the middle of a part"])
def test_a_copy_that_was_cut_off_is_no_checkpoint(run_dir, place, cut, monkeypatch):
    copy = copy_of(run_dir, place)
    copy.put(save(run_dir, 2))
    uploaded = []
    upload = copy._store.upload

    def failing(path, name):
        if cut == "before the manifest" and path.name == "manifest.json":
            raise TimeoutError("gone")
        if cut != "before the manifest" and uploaded:
            raise TimeoutError("gone")
        uploaded.append(name)
        upload(path, name)

    monkeypatch.setattr(copy._store, "upload", failing)
    with pytest.raises(TimeoutError):
        copy.put(save(run_dir, 4))
    assert uploaded
    lose(run_dir)
    assert copy_of(run_dir, place).fetch() == run_dir.checkpoint_dir(2)
    copy_of(run_dir, place).put(save(run_dir, 6))
    assert not list(place.glob("checkpoints/step_00000004/*")), "what was cut off stays for ever"


def test_a_checkpoint_that_is_copied_again_is_never_half_old(run_dir, place, monkeypatch):
    """A run that has gone back comes to the same step with other weights."""
    copy = copy_of(run_dir, place)
    copy.put(save(run_dir, 2))
    copy.put(save(run_dir, 4))
    copy.put(save(run_dir, 6))
    shutil.rmtree(run_dir.checkpoint_dir(4))
    shutil.rmtree(run_dir.checkpoint_dir(6))

    def refuse(path, name):
        raise TimeoutError("gone")

    monkeypatch.setattr(copy._store, "upload", refuse)
    with pytest.raises(TimeoutError):
        copy.put(save(run_dir, 4, [[1, 3]]))
    assert names_in(place) == ["step_00000002"]
    lose(run_dir)
    assert copy_of(run_dir, place).fetch() == run_dir.checkpoint_dir(2)


def test_checkpoints_that_going_back_has_made_obsolete_are_passed_over(run_dir, place):
    copy = copy_of(run_dir, place)
    copy.put(save(run_dir, 2))
    write_windows(run_dir.skips_path, [Window(3, 5)])
    copy.put(save(run_dir, 4))
    lose(run_dir)
    assert copy_of(run_dir, place).fetch() == run_dir.checkpoint_dir(2)


def test_damaged_copies_are_passed_over(run_dir, place, caplog):
    copy = copy_of(run_dir, place)
    for step in (2, 4):
        copy.put(save(run_dir, step))
        copy_file = place / "checkpoints" / f"step_{step:08d}" / "state.json"
        if step == 4:
            flip_bit(copy_file, 40)
    lose(run_dir)
    assert copy_of(run_dir, place).fetch() == run_dir.checkpoint_dir(2)
    assert "copy of a checkpoint passed over" in caplog.text
    lose(run_dir)
    flip_bit(place / "checkpoints" / "step_00000002" / "state.json", 40)
    with pytest.raises(CheckpointError, match="none of 2 checkpoints of the copy can be used"):
        copy_of(run_dir, place).fetch()
    assert not list_checkpoints(run_dir.path)


def test_the_mark_of_a_finished_run_does_not_come_without_its_checkpoint(
    run_dir, place, monkeypatch
):
    copy = copy_of(run_dir, place)
    checkpoint = save(run_dir, 4)
    run_dir.done_path.write_text("{}")
    copy.put(checkpoint)
    assert not (place / "DONE").exists()
    copy.put_records()
    lose(run_dir)
    other = copy_of(run_dir, place)
    monkeypatch.setattr(other, "_fetch_newest", lambda *_: pytest.fail("killed here"))
    with pytest.raises(pytest.fail.Exception):
        other.fetch()
    assert not run_dir.done_path.exists()
    copy_of(run_dir, place).fetch()
    assert run_dir.done_path.exists()


def test_a_run_whose_last_checkpoint_is_not_copied_is_not_finished_there(run_dir, place):
    copy = copy_of(run_dir, place)
    copy.put(save(run_dir, 4))
    save(run_dir, 6)
    run_dir.done_path.write_text("{}")
    copy.put_records()
    assert not (place / "DONE").exists()
    copy.put(run_dir.checkpoint_dir(6))
    copy.put_records()
    assert (place / "DONE").exists()


def test_the_copy_keeps_what_the_retention_says(run_dir, place):
    copy = copy_of(run_dir, place)
    for step in (2, 4, 6, 8, 9):
        copy.put(save(run_dir, step))
        copy.prune(Retention(1, 4))
    assert names_in(place) == ["step_00000004", "step_00000008", "step_00000009"]


def test_records_that_have_not_changed_are_not_copied_again(run_dir, place, monkeypatch):
    copy = copy_of(run_dir, place)
    run_dir.metrics_path.write_text("1\n")
    run_dir.cohort_path.write_text("{}")
    copy.put_records()
    sent = []
    monkeypatch.setattr(copy._store, "upload", lambda path, name: sent.append(name))
    run_dir.metrics_path.write_text("1\n2\n")
    copy.put_records()
    assert sent == ["metrics.jsonl"]


def test_on_s3_and_what_is_wrong_with_the_place_is_one_message(run_dir, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    server = S3Server()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        lost = RunCopy("s3://no-such-bucket/run", run_dir, timeout_s=0.5)
        with pytest.raises(CheckpointError, match="s3://no-such-bucket/run: cannot use the place"):
            lost.claim()
        with pytest.raises(FileNotFoundError):  # of the bucket, not of a record
            lost.put_records()
        server.upload(run_dir.path, "empty")
        copy = RunCopy(f"s3://{BUCKET}/run", run_dir, timeout_s=5)
        copy.claim()
        copy.put(save(run_dir, 2))
        copy.put(save(run_dir, 4))
        copy.prune(Retention(1, 0))
        lose(run_dir)
        assert copy.fetch() == run_dir.checkpoint_dir(4)
    finally:
        server.stop()
    lose(run_dir)
    run_dir.begun_path.write_text('{"unix_s": 1}')
    with pytest.raises(TimeoutError):
        RunCopy(f"s3://{BUCKET}/run", run_dir, timeout_s=0.5).put_records()
    with pytest.raises(CheckpointError, match=r"got no answer within 0.5 s.*copy_to=null"):
        RunCopy(f"s3://{BUCKET}/run", run_dir, timeout_s=0.5).fetch()
