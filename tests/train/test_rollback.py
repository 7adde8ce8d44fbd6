import logging

import pytest

from retfm_dist.errors import TrainError
from retfm_dist.train.checkpoint.folder import list_checkpoints, step_of
from retfm_dist.train.rollback import drop_superseded, plan_rollback
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.skips import Window, read_windows, write_windows
from retfm_dist.train.stability import Problem
from tests.fakes.checkpoints import flip_bit, write_state
from tests.fakes.training import tiny_config

PROBLEM = Problem(29, "loss", (1,), (0.5, float("nan")), 9.0)


def steps_of(run_dir):
    return [step_of(path) for path in list_checkpoints(run_dir.path)]


@pytest.mark.parametrize(
    ("margin", "saved", "expected"),
    [
        (5, [10, 20], Window(22, 30)),
        (100, [10, 20], Window(10, 30)),  # not beyond what can be gone back to
        (0, [28], Window(28, 30)),
    ],
)
def test_the_window_begins_before_the_first_bad_step(tmp_path, margin, saved, expected, caplog):
    run_dir = RunDir(tmp_path)
    config = tiny_config(tmp_path, stability__rollback_margin=margin)
    for step in saved:
        write_state(tmp_path, step, {"rolled_back": []})
    with caplog.at_level(logging.WARNING):
        plan_rollback(run_dir, config, (27, 30), problem=PROBLEM)
    assert read_windows(run_dir.skips_path) == (expected,)
    assert f"passing over the steps from {expected.begin} to 30" in caplog.text


def test_without_a_checkpoint_or_too_often_the_run_ends(tmp_path):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path, stability__max_rollbacks=1)
    with pytest.raises(
        TrainError, match="step 29: 3 steps in a row changed no weight.*rank 1, and there is no"
    ):
        plan_rollback(run_dir, config, (27, 30), problem=PROBLEM)
    write_state(tmp_path, 20, {"rolled_back": []})
    plan_rollback(run_dir, config, (27, 30), problem=PROBLEM)
    with pytest.raises(TrainError, match="the run has gone back 1 times already"):
        plan_rollback(run_dir, config, (47, 50), problem=PROBLEM)


def test_checkpoints_made_before_the_rollback_and_beyond_its_window_go(tmp_path):
    run_dir = RunDir(tmp_path)
    old, new = Window(5, 8), Window(22, 30)
    write_state(tmp_path, 20, {"rolled_back": [[5, 8]]})
    write_state(tmp_path, 22, {"rolled_back": [[5, 8]]})
    write_state(tmp_path, 25, {"rolled_back": [[5, 8]]})
    write_state(tmp_path, 35, {"rolled_back": [[5, 8], [22, 30]]})
    write_windows(run_dir.skips_path, [old, new])
    for _ in range(2):
        drop_superseded(run_dir, read_windows(run_dir.skips_path))
        assert steps_of(run_dir) == [20, 22, 35]


def test_what_cannot_be_read_is_left_to_the_check_of_its_bytes(tmp_path):
    run_dir = RunDir(tmp_path)
    directory = write_state(tmp_path, 25, {"rolled_back": []})
    flip_bit(directory / "state.json", 6)
    drop_superseded(run_dir, [Window(22, 30)])
    assert steps_of(run_dir) == [25]
