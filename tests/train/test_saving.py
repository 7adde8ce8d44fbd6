"""What is saved when, seen through whole runs of the tiny model on one rank."""

import json
import time

import pytest

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint import saver as saver_module
from retfm_dist.train.checkpoint.folder import find_checkpoint, list_checkpoints, step_of
from retfm_dist.train.checkpoint.read import read_state
from retfm_dist.train.run_dir import RunDir
from tests.fakes.checkpoints import bits_of
from tests.fakes.training import FakeLoader, run_fit, tiny_config


def steps_of(run_dir):
    return [step_of(path) for path in list_checkpoints(run_dir)]


def test_every_interval_is_kept_to_and_gives_the_same_weights(tmp_path, device):
    saved = {}
    for every in ("3 steps", "continuous", "auto", "10 hours"):
        config = tiny_config(
            tmp_path / every,
            checkpoint__every=every,
            checkpoint__keep_last=100,
            schedule__duration="12 steps",
        )
        run_fit(config, loader=FakeLoader(config, Ranks(), step_s=0.02))
        saved[every] = steps_of(config.run.dir)
    assert saved["3 steps"] == [3, 6, 9, 12]
    assert saved["auto"] == saved["10 hours"] == [12]
    assert saved["continuous"][0] == 1
    assert saved["continuous"][-1] == 12
    bits = [bits_of(find_checkpoint(tmp_path / every)) for every in saved]
    assert all(one == bits[0] for one in bits)


def test_retention_of_the_config(tmp_path, device):
    config = tiny_config(
        tmp_path,
        checkpoint__every="1 steps",
        checkpoint__keep_last=1,
        checkpoint__keep_every="1 epochs",  # 4 steps
        schedule__duration="10 steps",
    )
    run_fit(config)
    assert steps_of(tmp_path) == [4, 8, 10]


def test_the_state_names_all_that_a_reader_needs(tmp_path, device):
    run_fit(tiny_config(tmp_path))
    state = read_state(find_checkpoint(tmp_path))
    expected = {
        "format", "world_size", "step", "images_seen", "num_updates", "shapes", "data",
        "experiment", "config", "config_hash", "versions", "log_interval", "stability", "bad_samples", "rolled_back", "overrides",
        "time",
    }  # fmt: skip
    assert state.keys() == expected
    assert state["shapes"]["encoder.weight"] == [25, 12]
    assert json.loads((tmp_path / "saved.json").read_text()) == {"step": 6}


def test_nothing_but_checkpoints_is_left(tmp_path, device):
    run_fit(tiny_config(tmp_path, checkpoint__every="continuous"))
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert all(name.startswith("step_") for name in names)


def most_lost(config, monkeypatch):
    """Return the most steps between a complete checkpoint and the last logged step, slow disk."""
    logged = RunDir(config.run.dir).metrics_path
    saved, lost = [0], []
    commit = saver_module.commit_checkpoint

    def commit_late(directory, **facts):
        time.sleep(0.3)
        lost.append(len(logged.read_text().splitlines()) - saved[-1])
        commit(directory, **facts)
        saved.append(step_of(directory))

    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "commit_checkpoint", commit_late)
        run_fit(config, loader=FakeLoader(config, Ranks(), step_s=0.02))
    assert saved == [0, 4, 8, 12]
    return max(lost)


def test_training_waits_for_a_write_rather_than_lose_more_than_it_may(
    tmp_path, device, monkeypatch
):
    changes = {"checkpoint__every": "4 steps", "schedule__duration": "12 steps"}
    assert most_lost(tiny_config(tmp_path / "beside", **changes), monkeypatch) > 5
    held = tiny_config(tmp_path / "held", checkpoint__max_lost="5 steps", **changes)
    assert most_lost(held, monkeypatch) == 5
    assert bits_of(find_checkpoint(tmp_path / "held")) == bits_of(
        find_checkpoint(tmp_path / "beside")
    )


@pytest.mark.parametrize("every", ["0 hours", "soon", "3 miles"])
def test_an_interval_that_is_none_is_refused(tmp_path, every):
    with pytest.raises(ValueError, match="continuous"):
        tiny_config(tmp_path, checkpoint__every=every)


def test_images_that_have_gone_are_said_with_every_checkpoint(tmp_path, device, caplog):
    config = tiny_config(tmp_path)
    run_fit(config, cut_at=3)
    assert "has gone" not in caplog.text
    loader = FakeLoader(config, Ranks())
    loader.has_gone = True
    run_fit(config, loader=loader)
    assert caplog.text.count("nowhere: the shard set has gone; training goes on") == 2
