import json

import pytest

from retfm_dist.config.load import load_config
from retfm_dist.errors import ConfigError, TrainError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train import start
from retfm_dist.train.experiment import experiment_of
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.run_lock import hold_run_lock
from retfm_dist.train.start import Start, StartRequest, describe_start, enter_run_dir
from tests.fakes.training import tiny_config

MAIN = Ranks()


def test_a_new_directory_starts_at_step_0_and_a_finished_one_not_at_all(tmp_path):
    config, run_dir = tiny_config(tmp_path), RunDir(tmp_path)
    with enter_run_dir(run_dir, config, request=StartRequest(), ranks=MAIN) as found:
        assert found == Start(is_finished=False, checkpoint_dir=None)
    run_dir.done_path.write_text(json.dumps({"step": 6, "experiment": experiment_of(config)}))
    with enter_run_dir(run_dir, config, request=StartRequest(), ranks=MAIN) as found:
        assert found == Start(is_finished=True, checkpoint_dir=None)


def test_the_directory_is_held_while_inside_and_no_longer(tmp_path, monkeypatch):
    config, run_dir = tiny_config(tmp_path), RunDir(tmp_path)
    with (
        enter_run_dir(run_dir, config, request=StartRequest(), ranks=MAIN),
        pytest.raises(TrainError, match="another process trains in this run directory"),
        hold_run_lock(run_dir.lock_path, wait_s=0),
    ):
        pass
    with hold_run_lock(run_dir.lock_path, wait_s=0):
        pass


class Cohort:
    """Says who is in the images, as a loader does."""

    def __init__(self, cohort):
        self._cohort = cohort

    def cohort(self):
        return self._cohort

    def write_membership(self, path):
        if self._cohort is not None:
            path.write_text("members")


def test_a_start_describes_itself_and_cuts_the_logs(tmp_path):
    config, run_dir = tiny_config(tmp_path), RunDir(tmp_path)
    run_dir.metrics_path.write_text('{"step": 2}\n{"step": 3}\n')
    cohort = {"dataset_fingerprint": "ab", "composition": {"num_images": 3}}
    describe_start(
        run_dir,
        config,
        ranks=Ranks(world_size=2),
        engine={"accelerator": "cpu"},
        loader=Cohort(cohort),
        step=2,
    )
    assert load_config(run_dir.config_path) == config
    assert json.loads(run_dir.environment_path.read_text())["world_size"] == 2
    assert json.loads(run_dir.cohort_path.read_text()) == cohort
    assert run_dir.membership_path.read_text() == "members"
    assert run_dir.metrics_path.read_text() == '{"step": 2}\n'


def test_a_set_that_does_not_say_who_is_in_it_leaves_no_card(tmp_path):
    config, run_dir = tiny_config(tmp_path), RunDir(tmp_path)
    start.describe_start(
        run_dir, config, ranks=MAIN, engine={"accelerator": "cpu"}, loader=Cohort(None), step=0
    )
    assert not run_dir.cohort_path.exists()
    assert not run_dir.membership_path.exists()


def test_what_would_be_another_experiment_is_not_overridden_and_changes_nothing(tmp_path):
    request = StartRequest(fresh=True, overridden=frozenset({"data.crop_scale"}))
    (tmp_path / "kept").touch()
    with (
        pytest.raises(ConfigError, match="data.crop_scale: cannot be overridden in a run"),
        enter_run_dir(RunDir(tmp_path), tiny_config(tmp_path), request=request, ranks=MAIN),
    ):
        pass
    assert (tmp_path / "kept").exists()
