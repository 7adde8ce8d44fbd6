"""Whole runs of the tiny model on one rank, in this process."""

import json
import logging
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from retfm_dist.errors import CheckpointError, DataError
from retfm_dist.ranks.heartbeat import Heartbeat
from retfm_dist.ranks.stopping import StopReason, StopRequest
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.folder import find_checkpoint, list_checkpoints
from retfm_dist.train.checkpoint.read import open_checkpoint
from retfm_dist.train.fit import fit
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.schedule import plan_run
from tests.fakes.checkpoints import bits_of
from tests.fakes.training import (
    FakeLoader,
    FakeModel,
    TinyMae,
    draw_nothing,
    run_fit,
    tiny_config,
)


def run(config, *, model=None, initialize=lambda: None, draw=draw_nothing, **options):
    trainable = FakeModel(model or TinyMae(), initialize, draw)
    run_fit(config, build_model=lambda: trainable, **options)


def lines_of(run_dir):
    return [json.loads(line) for line in RunDir(run_dir).metrics_path.read_text().splitlines()]


def bytes_of_last(run_dir):
    directory = find_checkpoint(run_dir)
    return directory.name, bits_of(directory)


@pytest.mark.parametrize(("asked", "expected"), [(True, 1), (False, 0), (None, 0)])
def test_blocks_are_compiled_where_the_config_says_so(
    tmp_path, device, asked, expected, compile_with
):
    compile_with("aot_eager")  # of the noise
    config = tiny_config(tmp_path, engine__compile=asked, schedule__duration="2 steps")
    calls = []
    run_fit(config, build_model=lambda: FakeModel(TinyMae(), compile=lambda: calls.append(1)))
    assert len(calls) == expected
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["accelerator"] == "cpu"
    assert environment["optimizer"] == "DeepSpeedZeroOptimizer"
    assert environment["attention"] == "5x12 math"


def test_a_run_leaves_all_that_the_contract_names(tmp_path, device, caplog):
    config = tiny_config(tmp_path / "run", log__reconstructions_every="3 steps")
    with caplog.at_level(logging.INFO):
        run(config)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.yaml", "environment.json", "cohort.json", "membership.npz", "metrics.jsonl",
        "checkpoints", "saved.json", "begun.json", "reconstructions", "DONE", ".lock",
    }  # fmt: skip
    # keep_last is 2, and the last step is saved.
    steps = [path.name for path in list_checkpoints(tmp_path / "run")]
    assert steps == ["step_00000004", "step_00000006"]
    lines = lines_of(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[0]["train/lr"] == 0.0
    assert lines[-1]["train/loss"] < lines[0]["train/loss"]
    state = open_checkpoint(find_checkpoint(tmp_path / "run")).state
    assert (state["step"], state["images_seen"], state["num_updates"]) == (6, 48, 6)
    assert "starting from step 0" in caplog.text
    assert "finished 6 steps" in caplog.text


@pytest.mark.parametrize("cut_at", [1, 3, 5])
def test_a_run_cut_off_anywhere_ends_with_the_same_bits(tmp_path, device, cut_at):
    straight, cut = (tiny_config(tmp_path / name) for name in ("straight", "cut"))
    run(straight)
    run(cut, cut_at=cut_at)
    assert not RunDir(tmp_path / "cut").done_path.exists()
    run(cut, model=TinyMae(seed=5 if cut_at > 2 else 0))
    assert bytes_of_last(tmp_path / "cut") == bytes_of_last(tmp_path / "straight")
    shown = [
        [(line["step"], line["train/loss"], line["train/lr"]) for line in lines_of(tmp_path / name)]
        for name in ("cut", "straight")
    ]
    assert shown[0] == shown[1]


def test_stage_and_micro_batch_may_change_between_starts(tmp_path, device):
    config = tiny_config(tmp_path / "run", engine__zero_stage=2, schedule__micro_batch_size=8)
    run(config, cut_at=3)
    run(tiny_config(tmp_path / "run", engine__zero_stage=3, schedule__micro_batch_size=2), cut_at=5)
    run(tiny_config(tmp_path / "run", engine__zero_stage=0))
    run(tiny_config(tmp_path / "straight"))
    weights = [open_checkpoint(find_checkpoint(tmp_path / n)).weights for n in ("run", "straight")]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-4, atol=1e-6)


def test_a_damaged_newest_checkpoint_costs_one_interval_only(tmp_path, device, caplog):
    config = tiny_config(tmp_path / "run")
    run(tiny_config(tmp_path / "straight"))
    run(config, cut_at=5)
    newest = list_checkpoints(tmp_path / "run")[-1]
    (newest / "rank_0000.safetensors").write_bytes(b"torn")
    run(config)
    assert "passed over" in caplog.text
    assert bytes_of_last(tmp_path / "run") == bytes_of_last(tmp_path / "straight")
    assert newest.with_name("step_00000004.damaged").is_dir()


def test_a_finished_run_says_so_and_does_nothing(tmp_path, device, caplog):
    config = tiny_config(tmp_path / "run")
    run(config)
    before = bytes_of_last(tmp_path / "run")
    with caplog.at_level(logging.INFO):
        run(config, initialize=lambda: pytest.fail("must not start"))
    assert "this run has finished; nothing to do" in caplog.text
    assert bytes_of_last(tmp_path / "run") == before


def test_a_finished_run_opens_no_data_path(tmp_path, device):
    config = tiny_config(tmp_path / "run")
    run(config)

    def refuse():
        raise AssertionError("opened for nothing")

    fit(config, build_model=refuse, build_loader=refuse, ranks=Ranks(), device=torch.device("cpu"))


def test_the_data_path_is_closed_however_the_run_ends(tmp_path, device):
    config = tiny_config(tmp_path / "run")
    loaders = [FakeLoader(config, Ranks()) for _ in range(2)]
    run(config, loader=loaders[0], cut_at=3)
    run(config, loader=loaders[1])
    assert not any(loader.is_open for loader in loaders)


def test_uids_are_logged_when_asked_for_and_once_per_step(tmp_path, device):
    config = tiny_config(
        tmp_path / "run", data__log_uids=True, log__reconstructions_every="3 steps"
    )
    run(config, cut_at=3)
    run(config)
    lines = RunDir(tmp_path / "run").uid_log_path(0).read_text().splitlines()
    logged = [(line["step"], line["micro_step"]) for line in map(json.loads, lines)]
    assert logged == [(step, micro_step) for step in range(6) for micro_step in range(2)]
    run(tiny_config(tmp_path / "silent"))
    assert not (tmp_path / "silent" / "uids").exists()


def test_first_weights_are_given_only_when_nothing_is_continued(tmp_path, device):
    config = tiny_config(tmp_path / "run")
    calls = []
    run(config, cut_at=3, initialize=lambda: calls.append("first"))
    run(config, initialize=lambda: calls.append("again"))
    assert calls == ["first"]


def test_a_checkpoint_asked_for_is_taken(tmp_path, device, caplog):
    run(tiny_config(tmp_path / "old"))
    source = list_checkpoints(tmp_path / "old")[0]
    with caplog.at_level(logging.INFO):
        run(tiny_config(tmp_path / "new"), resume=source)
    assert f"starting from {source}" in caplog.text
    assert [line["step"] for line in lines_of(tmp_path / "new")] == [5, 6]
    assert bytes_of_last(tmp_path / "new") == bytes_of_last(tmp_path / "old")


def test_other_images_do_not_continue_a_run_and_change_nothing(tmp_path, device):
    config = tiny_config(tmp_path / "run")
    run(config, cut_at=3)
    before = RunDir(tmp_path / "run").metrics_path.read_bytes()
    loader = FakeLoader(config, Ranks())
    loader.fingerprint = "other images"
    with pytest.raises(DataError, match="other images"):
        run(config, loader=loader)
    assert RunDir(tmp_path / "run").metrics_path.read_bytes() == before


def test_a_run_of_another_config_is_not_continued(tmp_path, device):
    run(tiny_config(tmp_path / "run"), cut_at=3)
    with pytest.raises(CheckpointError, match="run.seed differs; got 4, expected 3"):
        run(tiny_config(tmp_path / "run", run__seed=4))


@pytest.mark.parametrize("stage", [1, 3])
def test_pictures_show_the_first_images_and_leave_no_trace(tmp_path, device, stage):
    plain = tiny_config(tmp_path / "plain", engine__zero_stage=stage)
    config = tiny_config(
        tmp_path / "drawn", engine__zero_stage=stage, log__reconstructions_every="2 steps"
    )
    seen = []
    model = TinyMae()

    def draw(images, noise):
        seen.append((images.clone(), noise.clone()))
        assert model(images, noise).pred.shape == (8, 4, 12)
        return np.full((4, 12, 3), len(seen), np.uint8)

    run(plain)
    run(config, model=model, draw=draw, cut_at=5)
    first = torch.cat([batch.images for batch in FakeLoader(config, Ranks()).batches(0, 1)])
    for images, noise in seen:
        assert torch.equal(images, first)
        assert torch.equal(noise, seen[0][1])
    paths = sorted((tmp_path / "drawn" / "reconstructions").iterdir())
    assert [path.name for path in paths] == ["step_00000002.png", "step_00000004.png"]
    assert np.asarray(Image.open(paths[1])).tolist() == np.full((4, 12, 3), 2).tolist()
    run(config, draw=draw_nothing)
    assert bytes_of_last(tmp_path / "drawn") == bytes_of_last(tmp_path / "plain")


def test_a_rank_that_is_ended_because_another_was_lost_has_left_its_note(tmp_path, device):
    """A launcher that sees one rank die ends the others, which may learn of it a moment later."""
    config = tiny_config(tmp_path / "run")
    stop = StopRequest(Ranks(), leave=sys.exit)

    class Lost(TinyMae):
        def forward(self, images, noise):
            stop.ask(StopReason.SIGTERM)
            raise RuntimeError("[pair.cc:561] Connection closed by peer [10.0.0.2]:4000")

    loader = FakeLoader(config, Ranks())
    with pytest.raises(SystemExit):
        fit(
            config,
            build_model=lambda: FakeModel(Lost()),
            build_loader=lambda: loader,
            ranks=Ranks(),
            device=torch.device("cpu"),
            stop=stop,
        )
    stop.hear()  # ends its deadline
    (note,) = RunDir(config.run.dir).failures_path.glob("*.json")
    assert json.loads(note.read_text())["is_lost_rank"]


def test_a_run_that_is_asked_to_stop_saves_after_the_step_and_goes_on(tmp_path, device, caplog):
    caplog.set_level(logging.INFO)
    straight, stopped = (
        tiny_config(tmp_path / name, schedule__duration="10 steps", checkpoint__every="8 steps")
        for name in ("straight", "stopped")
    )
    run(straight)
    stop = StopRequest(Ranks(), leave=lambda _: pytest.fail("left without saving"))
    loader = FakeLoader(stopped, Ranks())
    whole = loader.batches

    def batches(start_step, end_step):
        for batch in whole(start_step, end_step):
            if batch.step == 4:
                stop.ask(StopReason.SIGTERM)
            yield batch

    loader.batches = batches
    options = {"ranks": Ranks(), "device": torch.device("cpu")}
    trainable = FakeModel(TinyMae())
    assert not fit(
        stopped, build_model=lambda: trainable, build_loader=lambda: loader, stop=stop, **options
    )
    assert [path.name for path in list_checkpoints(stopped.run.dir)] == ["step_00000005"]
    assert not RunDir(stopped.run.dir).done_path.exists()
    assert "stopped by SIGTERM after step 5, which is saved" in caplog.text
    run(stopped)
    assert bytes_of_last(stopped.run.dir) == bytes_of_last(straight.run.dir)


def test_a_time_limit_stops_a_run_as_a_signal_does(tmp_path, device, caplog):
    caplog.set_level(logging.INFO)
    config = tiny_config(tmp_path, schedule__duration="10 steps", run__time_limit_hours=1e-9)
    options = {"ranks": Ranks(), "device": torch.device("cpu")}
    for step in (1, 2):
        loader = FakeLoader(config, Ranks())
        assert not fit(
            config,
            build_model=lambda: FakeModel(TinyMae()),
            build_loader=lambda loader=loader: loader,
            **options,
        )
        assert list_checkpoints(config.run.dir)[-1].name == f"step_{step:08d}"
    assert "stopped by its time limit after step 2" in caplog.text


def test_purged_checkpoints_stop_a_start_and_fresh_begins_anew(tmp_path, device, caplog):
    caplog.set_level(logging.INFO)
    config = tiny_config(tmp_path)
    run(config, cut_at=4)
    before = RunDir(tmp_path).metrics_path.read_bytes()
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match="the run had checkpoints, and none is left"):
        run(config)
    assert RunDir(tmp_path).metrics_path.read_bytes() == before
    run(config, fresh=True)
    assert RunDir(tmp_path).done_path.exists()
    assert (tmp_path / "before_001" / "metrics.jsonl").read_bytes() == before
    assert "the earlier history now lies in before_001" in caplog.text


def test_the_first_line_after_a_resume_is_that_of_the_whole_interval(tmp_path, device):
    straight, cut = (
        tiny_config(tmp_path / name, schedule__duration="12 steps", log__every="4 steps",
                    checkpoint__every="3 steps") for name in ("straight", "cut")
    )  # fmt: skip
    run(straight)
    run(cut, cut_at=6)
    run(cut)
    losses = [[line["train/loss"] for line in lines_of(c.run.dir)] for c in (straight, cut)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert len(losses[0]) == 3


def test_only_the_first_step_of_a_start_counts_as_starting(tmp_path, device, monkeypatch):
    notes = []
    monkeypatch.setattr(Heartbeat, "note", lambda self, step, doing: notes.append((step, doing)))
    config = tiny_config(tmp_path, checkpoint__every="3 steps")
    run(config, cut_at=4)
    notes.clear()
    run(config)
    assert {step for step, doing in notes if doing == "starting"} == {3}
    assert {step for step, doing in notes if doing == "computing"} == {4, 5}
    assert (6, "saving") in notes


def test_a_learning_rate_is_changed_with_intent_and_recorded(tmp_path, device):
    config = tiny_config(tmp_path, schedule__duration="8 steps")
    run(config, cut_at=3)
    changed = tiny_config(tmp_path, schedule__duration="8 steps", optimizer__base_lr=0.1)
    with pytest.raises(
        CheckpointError, match="optimizer.base_lr differs.*or change this one by --override opt"
    ):
        run(changed)
    overridden = frozenset({"optimizer.base_lr"})
    run(changed, overridden=overridden, cut_at=5)
    run(changed, cut_at=7)  # the checkpoint has it now
    both = tiny_config(
        tmp_path,
        schedule__duration="8 steps",
        optimizer__base_lr=0.1,
        stability__skip_steps=[[6, 7]],
    )
    run(both, overridden=frozenset({"stability.skip_steps"}))
    expected = [
        {"step": 2, "field": "optimizer.base_lr", "from": 0.3, "to": 0.1},
        {"step": 6, "field": "stability.skip_steps", "from": [], "to": [[6, 7]]},
    ]
    state = open_checkpoint(find_checkpoint(tmp_path)).state
    assert state["overrides"] == expected
    assert state["num_updates"] == 7
    assert json.loads(RunDir(tmp_path).overrides_path.read_text()) == expected
    lines = {line["step"]: line["train/lr"] for line in lines_of(tmp_path)}
    rates = plan_run(changed, steps_per_epoch=4)
    assert lines[5] == rates.lr(4)
    assert lines[2] == plan_run(config, steps_per_epoch=4).lr(1)


def test_the_precision_is_changed_with_intent(tmp_path, device):
    config = tiny_config(tmp_path, engine__precision="bf16")
    run(config, cut_at=3)
    run(tiny_config(tmp_path), overridden=frozenset({"engine.precision"}))
    (change,) = open_checkpoint(find_checkpoint(tmp_path)).state["overrides"]
    assert change == {"step": 2, "field": "engine.precision", "from": "bf16", "to": "fp32"}


def test_the_effective_time_is_counted_over_all_starts(tmp_path, device):
    config = tiny_config(tmp_path, schedule__duration="8 steps")
    run(config, cut_at=3)
    first = open_checkpoint(find_checkpoint(tmp_path)).state["time"]
    assert 0 < lines_of(tmp_path)[-1]["perf/effective_time_ratio"] < 1
    run(config)
    last = open_checkpoint(find_checkpoint(tmp_path)).state["time"]
    assert last["begun_at"] == first["begun_at"]
    assert last["productive_s"] > first["productive_s"]
