import pytest

from retfm_dist.errors import CheckpointError, ConfigError
from retfm_dist.train.experiment import (
    Change,
    changes_of,
    check_experiment,
    check_overrides,
    experiment_of,
)
from tests.fakes.training import tiny_config


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


def test_only_what_the_user_names_may_differ(tmp_path):
    saved = experiment_of(tiny_config(tmp_path))
    changed = tiny_config(tmp_path, optimizer__base_lr=0.1, engine__precision="bf16")
    assert changes_of(changed, saved) == [
        Change("engine.precision", "fp32", "bf16"),
        Change("optimizer.base_lr", 0.3, 0.1),
    ]
    both = {"optimizer.base_lr", "engine.precision"}
    check_experiment(changed, saved, where=tmp_path, overridden=both)
    with pytest.raises(CheckpointError, match="optimizer.base_lr differs; got 0.1, expected 0.3"):
        check_experiment(changed, saved, where=tmp_path, overridden={"engine.precision"})


@pytest.mark.parametrize("field", ["optimizer.base_lr", "engine.precision", "stability.skip_steps"])
def test_what_rescues_a_run_may_be_overridden(field):
    check_overrides([field])


@pytest.mark.parametrize("field", ["optimizer", "run.seed", "model.depth", "stabilityx", ""])
def test_what_makes_another_experiment_may_not(field):
    with pytest.raises(ConfigError, match="cannot be overridden in a run; expected one of optim"):
        check_overrides(["engine.precision", field])
