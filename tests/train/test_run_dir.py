import json

import pytest

from retfm_dist.config.load import config_hash, load_config
from retfm_dist.errors import CheckpointError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.run_dir import (
    RunDir,
    check_experiment,
    describe_environment,
    describe_start,
    drop_lines_after,
    experiment_of,
)
from tests.fakes.training import tiny_config


def test_paths_are_those_of_the_contract(tmp_path):
    run_dir = RunDir(tmp_path)
    assert run_dir.checkpoint_dir(40) == tmp_path / "checkpoints" / "step_00000040"
    assert run_dir.reconstruction_path(7) == tmp_path / "reconstructions" / "step_00000007.png"


@pytest.mark.parametrize(
    "changes",
    [
        {"engine__zero_stage": 3},
        {"schedule__micro_batch_size": 1},
        {"data__decode_threads": 7},
        {"data__shards": "elsewhere"},
        {"log__every": "5 steps"},
        {"checkpoint__keep_last": 9},
        {"tracking__mlflow": True},
        {"run__dir": "moved"},
        {"run__init_from": "weights.safetensors"},
    ],
)
def test_where_and_how_a_run_goes_may_change(tmp_path, changes):
    changed = tiny_config(tmp_path, **changes)
    check_experiment(changed, experiment_of(tiny_config(tmp_path)), where=tmp_path)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"run__seed": 4}, "run.seed"),
        ({"data__crop_scale": [0.5, 1.0]}, "data.crop_scale"),
        ({"model__depth": 2}, "model.depth"),
        ({"optimizer__weight_decay": 0.1}, "optimizer.weight_decay"),
        ({"schedule__global_batch_size": 16}, "schedule.global_batch_size"),
        ({"schedule__warmup": "1 steps"}, "schedule.warmup"),
        ({"engine__precision": "bf16"}, "engine.precision"),
    ],
)
def test_what_a_run_computes_may_not(tmp_path, changes, field):
    changed = tiny_config(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=f"config is not that of the run: {field} differs"):
        check_experiment(changed, experiment_of(tiny_config(tmp_path)), where=tmp_path)


def test_a_start_describes_itself(tmp_path):
    config = tiny_config(tmp_path)
    run_dir = RunDir(tmp_path)
    environment = describe_environment(config, ranks=Ranks(world_size=2), device="cpu")
    describe_start(run_dir, config, environment=environment)
    assert load_config(run_dir.config_path) == config
    read = json.loads(run_dir.environment_path.read_text())
    assert read["config_hash"] == config_hash(config)
    assert read["world_size"] == 2
    assert {"torch", "deepspeed"} <= read["versions"].keys()


def test_metrics_beyond_the_resumed_step_go(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "train/loss": 1 / step}) for step in (10, 20, 30)]
    path.write_text("\n".join(lines) + '\n{"step": 35, "tra')
    drop_lines_after(RunDir(tmp_path), 20)
    assert path.read_text() == "\n".join(lines[:2]) + "\n"
    drop_lines_after(RunDir(tmp_path), 0)
    assert path.read_text() == ""


def test_metrics_that_are_whole_stay_as_they_are(tmp_path):
    path = tmp_path / "metrics.jsonl"
    drop_lines_after(RunDir(tmp_path), 5)
    assert not path.exists()
    path.write_text('{"step": 5}\n')
    before = path.stat().st_mtime_ns
    drop_lines_after(RunDir(tmp_path), 5)
    assert path.stat().st_mtime_ns == before
    path.write_text('{"step": 5}')
    drop_lines_after(RunDir(tmp_path), 5)
    assert path.read_text() == '{"step": 5}\n'


def test_uids_of_steps_that_come_again_go_on_whichever_rank_wrote_them(tmp_path):
    """Training continues after 2 completed steps, which are the 0-based steps 0 and 1."""
    (tmp_path / "uids").mkdir()
    for rank in (0, 5):
        path = tmp_path / "uids" / f"rank_{rank:04d}.jsonl"
        path.write_text("".join(f'{{"step": {step}, "uids": []}}\n' for step in (0, 0, 1, 2, 3)))
    drop_lines_after(RunDir(tmp_path), 2)
    for path in (tmp_path / "uids").iterdir():
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 0, 1]
