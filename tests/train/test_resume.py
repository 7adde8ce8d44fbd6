import json

import pytest
import torch

from retfm_dist.errors import CheckpointError
from retfm_dist.train.checkpoint.folder import list_checkpoints
from retfm_dist.train.experiment import experiment_of
from retfm_dist.train.resume import choose_checkpoint, is_finished, set_history_aside
from retfm_dist.train.run_dir import RunDir
from tests.fakes.checkpoints import write_checkpoint
from tests.fakes.training import tiny_config


def save(run_dir, step, config):
    write_checkpoint(
        run_dir.checkpoint_dir(step),
        weights={"a": torch.ones(2)},
        moments={"exp_avg": {"a": torch.ones(2)}, "exp_avg_sq": {"a": torch.ones(2)}},
        state={"step": step, "experiment": experiment_of(config)},
    )
    return run_dir.checkpoint_dir(step)


def damage(directory):
    (directory / "state.json").write_text("{}")


# Which of the run's checkpoints are damaged, which one is asked for -> the step that is taken.
@pytest.mark.parametrize(
    ("steps", "damaged", "asked_for", "expected"),
    [
        ([], [], None, None),
        ([2], [], None, 2),
        ([2, 4], [], None, 4),
        ([2, 4], [4], None, 2),
        ([2, 4, 6], [2, 6], None, 4),
        ([2, 4], [2], 4, 4),
        ([2, 4], [], 4, 4),
    ],
)
def test_where_a_run_starts(tmp_path, steps, damaged, asked_for, expected):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path)
    for step in steps:
        save(run_dir, step, config)
    for step in damaged:
        damage(run_dir.checkpoint_dir(step))
    explicit = None if asked_for is None else run_dir.checkpoint_dir(asked_for)
    chosen = choose_checkpoint(run_dir, config, explicit=explicit)
    assert chosen == (None if expected is None else run_dir.checkpoint_dir(expected))
    if chosen is not None and explicit is None:
        # Nothing newer is left under a checkpoint's name: the step can be saved anew.
        assert list_checkpoints(tmp_path)[-1] == chosen


def test_all_damaged_is_an_error_and_never_step_0(tmp_path):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path)
    damage(save(run_dir, 2, config))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="all 1 checkpoints are damaged"):
            choose_checkpoint(run_dir, config, explicit=None)


def test_a_damaged_checkpoint_asked_for_is_not_replaced_by_another(tmp_path):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path)
    save(run_dir, 2, config)
    damage(save(run_dir, 4, config))
    with pytest.raises(CheckpointError, match=r"state.json: has another size"):
        choose_checkpoint(run_dir, config, explicit=run_dir.checkpoint_dir(4))
    with pytest.raises(CheckpointError, match="no manifest"):
        choose_checkpoint(run_dir, config, explicit=tmp_path / "nowhere")


def test_another_runs_checkpoint_can_be_asked_for(tmp_path):
    config = tiny_config(tmp_path / "new")
    other = save(RunDir(tmp_path / "old"), 8, config)
    assert choose_checkpoint(RunDir(tmp_path / "new"), config, explicit=other) == other


def test_a_run_directory_ahead_of_what_is_asked_for_is_refused(tmp_path):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path)
    older = save(run_dir, 2, config)
    save(run_dir, 4, config)
    with pytest.raises(CheckpointError, match="newer checkpoints.*got step_00000004"):
        choose_checkpoint(run_dir, config, explicit=older)


def test_another_experiment_does_not_continue_the_run(tmp_path):
    run_dir = RunDir(tmp_path)
    save(run_dir, 2, tiny_config(tmp_path))
    changed = tiny_config(tmp_path, optimizer__base_lr=0.5)
    with pytest.raises(CheckpointError, match=r"optimizer.base_lr differs; got 0.5, expected 0.3"):
        choose_checkpoint(run_dir, changed, explicit=None)


def test_a_finished_run_is_known_by_its_marker(tmp_path):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path)
    save(run_dir, 6, config)
    assert not is_finished(run_dir, config)
    run_dir.done_path.write_text(json.dumps({"step": 6, "experiment": experiment_of(config)}))
    assert is_finished(run_dir, config)
    with pytest.raises(CheckpointError, match=r"schedule.duration differs; got 8 steps"):
        is_finished(run_dir, tiny_config(tmp_path, schedule__duration="8 steps"))
    run_dir.done_path.write_text("{")
    with pytest.raises(CheckpointError, match="DONE: damaged marker"):
        is_finished(run_dir, config)


def test_the_same_command_with_resume_continues_what_it_began(tmp_path):
    config = tiny_config(tmp_path / "new")
    run_dir = RunDir(tmp_path / "new")
    other = save(RunDir(tmp_path / "old"), 2, config)
    assert choose_checkpoint(run_dir, config, explicit=other) == other
    # Killed before its first checkpoint, then after its second.
    assert choose_checkpoint(run_dir, config, explicit=other) == other
    save(run_dir, 4, config)
    newest = save(run_dir, 6, config)
    assert choose_checkpoint(run_dir, config, explicit=other) == newest
    stranger = save(RunDir(tmp_path / "stranger"), 3, config)
    with pytest.raises(CheckpointError, match="newer checkpoints.*got step_00000006"):
        choose_checkpoint(run_dir, config, explicit=stranger)


def test_a_run_whose_checkpoints_have_gone_does_not_start_anew_by_itself(tmp_path):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path)
    assert choose_checkpoint(run_dir, config, explicit=None) is None
    run_dir.saved_path.write_text('{"step": 40}')
    with pytest.raises(
        CheckpointError, match="none is left; got a run that had been saved at step 40"
    ):
        choose_checkpoint(run_dir, config, explicit=None)
    run_dir.saved_path.write_text("garbled")
    with pytest.raises(CheckpointError, match="saved at step unknown.*--fresh"):
        choose_checkpoint(run_dir, config, explicit=None)


def test_a_history_is_set_aside_and_nothing_of_it_is_lost(tmp_path):
    run_dir, config = RunDir(tmp_path), tiny_config(tmp_path)
    run_dir.lock_path.touch()
    assert set_history_aside(run_dir) is None
    for expected in ("before_001", "before_002"):
        save(run_dir, 2, config)
        run_dir.metrics_path.write_text(expected)
        assert set_history_aside(run_dir) == tmp_path / expected
        assert choose_checkpoint(run_dir, config, explicit=None) is None
        assert (tmp_path / expected / "metrics.jsonl").read_text() == expected
        assert len(list_checkpoints(tmp_path / expected)) == 1
    assert run_dir.lock_path.exists()
