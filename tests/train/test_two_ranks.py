"""Two real ranks, started once; compared with one rank in this process."""

import json
import subprocess
import sys

import pytest
import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.layout import AVERAGE
from retfm_dist.train.checkpoint.read import open_checkpoint
from retfm_dist.train.engine.engine import Engine, SavedState
from tests.fakes.checkpoints import state_of, weights_of
from tests.fakes.processes import ROOT, environment
from tests.fakes.training import TinyMae, run_steps, tiny_config
from tests.fakes.two_ranks import CASES

pytestmark = pytest.mark.slow

NAMES = [f"{stage}-{precision}-{micro}" for stage, precision, micro in CASES]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("two_ranks")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        ROOT / "tests" / "fakes" / "two_ranks.py", out_dir,
    ]  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return out_dir


def read(results, name, which):
    checkpoint = open_checkpoint(results / name / which)
    tensors = dict(checkpoint.weights)
    for key, part in {**checkpoint.moments, AVERAGE: checkpoint.average}.items():
        tensors |= {f"{key}/{parameter}": tensor for parameter, tensor in part.items()}
    return tensors, checkpoint.state


def bits_of(tensors):
    return {name: tensor.view(torch.int32).tolist() for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_has_the_bits_of_a_straight_one(results, name):
    straight, resumed = (read(results, name, which) for which in ("straight", "resumed"))
    assert bits_of(straight[0]) == bits_of(resumed[0])
    assert straight[1]["losses"] == resumed[1]["losses"]


@pytest.mark.parametrize("name", [name for name in NAMES if "fp32" in name])
def test_two_ranks_train_as_one_does(results, tmp_path, device, name):
    config = tiny_config(tmp_path, engine__zero_stage=0)
    model = TinyMae()
    engine = Engine(config, model=model, ranks=Ranks(), device=device)
    run_steps(engine, config, Ranks(), range(3))
    one = weights_of(engine)
    engine.close()
    two, state = read(results, name, "saved")
    assert state["num_updates"] == 3
    for parameter, tensor in one.items():
        torch.testing.assert_close(two[parameter], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stage", [1, 3])
def test_one_rank_takes_over_every_bit_from_two(results, tmp_path, device, name, stage):
    saved, state = read(results, name, "saved")
    checkpoint = open_checkpoint(results / name / "saved")
    config = tiny_config(
        tmp_path,
        engine__zero_stage=stage,
        engine__precision=name.split("-")[1],
        optimizer__ema_decay=0.5,
    )
    engine = Engine(
        config,
        model=TinyMae(seed=2),
        ranks=Ranks(),
        device=device,
        saved=SavedState(
            checkpoint.weights, checkpoint.moments, state["num_updates"], checkpoint.average
        ),
    )
    whole = state_of(engine)
    taken = dict(whole.weights)
    for key, part in {**whole.moments, AVERAGE: whole.average}.items():
        taken |= {f"{key}/{parameter}": tensor for parameter, tensor in part.items()}
    assert bits_of(taken) == bits_of(saved)
    assert engine.num_updates() == 3
    engine.close()


def test_decisions_of_the_main_rank_are_everyones(results):
    assert json.loads((results / "decisions.json").read_text())["every_rank_agrees"]


def test_ranks_commit_when_the_slowest_has_written_and_fail_together(results):
    for found in json.loads((results / "decisions.json").read_text())["saving"]:
        assert found["none_yet"]
        assert found["stall_s"] < 0.5
        assert found["whole"] == [0, 0, 0, 1, 1, 1]
        assert "step_00000004: cannot write the checkpoint; got [Errno 28]" in found["failure"]
        assert found["left"] == ["step_00000002"]


def test_what_one_rank_spoils_no_rank_learns_from(results):
    of_each = json.loads((results / "decisions.json").read_text())["bad_steps"]
    assert len(of_each) == 2
    for found in of_each:
        assert len(found) == 15
        for name, (
            is_updated,
            is_same,
            are_finite,
            of_whom,
            is_updated_again,
            is_sound,
        ) in found.items():
            assert not is_updated, name
            assert is_same, name
            assert are_finite == [True, "loss" not in name], name
            assert of_whom == [True, "spike" in name], name  # before the ranks average them
            assert is_updated_again, name
            assert is_sound, name


def test_two_ranks_agree_with_float64_in_every_stage(results):
    found = json.loads((results / "decisions.json").read_text())["parity"]
    assert len(found) == 10
    for name, (loss, gradient) in found.items():
        assert loss < 1e-6, name
        assert gradient < 1e-5, name


def test_exchanging_gradients_early_changes_no_bit(results):
    assert json.loads((results / "decisions.json").read_text())["overlap_is_same"]


def test_ranks_with_other_images_stop_at_the_start(results):
    for message in json.loads((results / "decisions.json").read_text())["other_images"]:
        assert message.startswith("rank 1: the ranks do not start the same run: images differs")
        assert "a stale copy" in message


def test_every_group_has_the_timeout_of_the_config(results):
    found = json.loads((results / "decisions.json").read_text())["timeouts"]
    assert len(found) >= 2  # PyTorch's and DeepSpeed's
    assert set(found) == {77}
