from pathlib import Path

import pytest

from retfm_dist.config import load_config
from retfm_dist.errors import ConfigError

CONFIG_PATH = Path(__file__).parents[1] / "fakes" / "test_cpu.yaml"


def load(*overrides):
    return load_config(CONFIG_PATH, list(overrides))


def test_one_set_or_several_with_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("SETS", str(tmp_path))
    one = load("data.shards=$SETS/fundus").data
    assert (one.sources, one.weights) == ((f"{tmp_path}/fundus",), ())
    several = load("data.shards=[{path: $SETS/a, weight: 1}, {path: s3://b/c/, weight: 0.5}]").data
    assert several.sources == (f"{tmp_path}/a", "s3://b/c")
    assert several.weights == (1.0, 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.shards=[]", "shards must name at least one set"),
        ("data.shards=3", "it should be a directory or an address such as s3://bucket/set"),
        ("data.shards=[{path: a}]", "weight"),
        ("data.shards=[{path: a, weight: 0}]", "weight"),
        ("data.crop_scale=[0.5, 0.2]", "crop_scale must be two ascending numbers"),
        ("data.window=1", "window"),
        ("data.max_bad_ratio=1.5", "max_bad_ratio"),
    ],
)
def test_what_cannot_be_meant_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load(override)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="must not hold a user name or password") as caught:
        load("data.shards=s3://me:hunter2@bucket/set")
    assert "hunter2" not in str(caught.value)


def test_lanes_divide_the_global_batch():
    with pytest.raises(
        ConfigError, match=r"data.lanes 3 does not divide schedule.global_batch_size"
    ):
        load("data.lanes=3")


def test_storage_may_not_take_longer_to_answer_than_a_stall_takes():
    with pytest.raises(ConfigError, match=r"data.read_timeout_s 60 must be shorter than run.stall"):
        load("data.read_timeout_s=60")
    load("data.read_timeout_s=600", "run.stall_timeout_s=null")
    assert load("run.stall_timeout_s=6").read_timeout_s == 3
    assert load("run.stall_timeout_s=600").read_timeout_s == 30
    assert load("run.stall_timeout_s=null").read_timeout_s == 30
