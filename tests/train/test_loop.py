"""Steps that are not sound, seen through whole runs of the tiny model on one rank."""

import json
import logging
import math
from collections import Counter

import pytest

from retfm_dist.errors import TrainError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.folder import find_checkpoint, list_checkpoints
from retfm_dist.train.checkpoint.read import read_state
from retfm_dist.train.run_dir import RunDir
from tests.fakes.checkpoints import bits_of
from tests.fakes.host_waits import HostWaits
from tests.fakes.training import FakeLoader, FakeModel, TinyMae, run_fit, tiny_config


class Poisoned(TinyMae):
    """Multiplies the loss of the images of some steps, once each for every factor given."""

    def __init__(self, config, factors, seed=0):
        super().__init__(seed)
        loader = FakeLoader(config, Ranks())
        self._factors = {
            float(batch.images.sum()): factors[batch.step]
            for step in factors
            for batch in loader.batches(step, step + 1)
        }

    def forward(self, images, noise):
        output = super().forward(images, noise)
        factor = self._factors.get(float(images.sum()), 1.0) if self.training else 1.0
        return output._replace(loss=output.loss * factor)


class PoisonedGradient(Poisoned):
    def forward(self, images, noise):
        output = TinyMae.forward(self, images, noise)
        if self.training and float(images.sum()) in self._factors:
            output.pred.register_hook(lambda gradient: gradient * math.inf)
        return output


def run(config, factors, *, kind=Poisoned, **options):
    run_fit(config, build_model=lambda: FakeModel(kind(config, factors)), **options)


def make(directory, **changes):
    changes = {
        "schedule__duration": "16 steps",
        "checkpoint__every": "4 steps",
        "stability__rollback_margin": 2,
    } | changes
    return tiny_config(directory, **changes)


def anomalies(run_dir):
    path = RunDir(run_dir).anomalies_path
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", [Poisoned, PoisonedGradient])
def test_a_bad_step_changes_nothing_and_the_run_goes_on(tmp_path, device, stage, kind):
    config = make(tmp_path / "run", engine__zero_stage=stage)
    run(config, {6: math.nan}, kind=kind)
    (line,) = anomalies(tmp_path / "run")
    assert (line["step"], line["kind"]) == (6, "loss" if kind is Poisoned else "gradient")
    assert line["ranks"] == [0]
    assert len(line["uids"]) == 8
    assert line["uids"][0] == f"{6 * 8:016x}"
    # As if the step had been passed over from the beginning.
    passed = make(tmp_path / "passed", engine__zero_stage=stage, stability__skip_steps=[[6, 7]])
    run(passed, {})
    one, other = (find_checkpoint(tmp_path / name) for name in ("run", "passed"))
    assert bits_of(one) == bits_of(other)
    assert read_state(one)["num_updates"] == 15
    assert anomalies(tmp_path / "passed") == []


def test_sound_steps_are_the_same_bits_as_without_a_judge(tmp_path, device):
    run(make(tmp_path / "off"), {})
    run(make(tmp_path / "on", stability__spike_deviations=20, stability__spike_history=4), {})
    assert bits_of(find_checkpoint(tmp_path / "off")) == bits_of(find_checkpoint(tmp_path / "on"))


def test_a_planted_spike_is_not_learned_from(tmp_path, device):
    config = make(tmp_path, stability__spike_deviations=20, stability__spike_history=4)
    run(config, {11: 50.0})
    (line,) = anomalies(tmp_path)
    assert (line["step"], line["kind"]) == (11, "spike")
    assert line["losses"][0] > line["limit"]
    assert read_state(find_checkpoint(tmp_path))["num_updates"] == 15


BAD = {9: math.nan, 10: math.inf, 11: math.nan}


def test_too_many_bad_steps_go_back_and_pass_over_the_window(tmp_path, device, caplog):
    caplog.set_level(logging.INFO)
    run(make(tmp_path / "run"), BAD)
    assert "going back, and passing over the steps from 7 to 12" in caplog.text
    assert [line["step"] for line in anomalies(tmp_path / "run")] == [9, 10, 11]
    passed = make(tmp_path / "passed", stability__skip_steps=[[7, 12]])
    run(passed, {})
    one, other = (find_checkpoint(tmp_path / name) for name in ("run", "passed"))
    assert bits_of(one) == bits_of(other)
    steps = [
        [
            (line["step"], line["train/loss"])
            for line in map(json.loads, RunDir(path).metrics_path.read_text().splitlines())
        ]
        for path in (tmp_path / "run", tmp_path / "passed")
    ]
    assert steps[0] == steps[1]
    assert [step for step, _ in steps[0]] == [*range(1, 8), *range(13, 17)]
    assert RunDir(tmp_path / "run").done_path.exists()


@pytest.mark.parametrize("cut_at", [3, 8, 9, 10, 11, 12, 14])
def test_killed_around_a_rollback_it_ends_with_the_same_bits(tmp_path, device, cut_at):
    run(make(tmp_path / "straight"), BAD)
    config = make(tmp_path / "cut")
    run(config, BAD, cut_at=cut_at)
    assert not RunDir(tmp_path / "cut").done_path.exists()
    run(config, BAD)
    one, other = (find_checkpoint(tmp_path / name) for name in ("straight", "cut"))
    assert bits_of(one) == bits_of(other)
    assert anomalies(tmp_path / "straight") == anomalies(tmp_path / "cut")


SPIKES = {7: 50.0, 11: 60.0, 12: 50.0}


@pytest.mark.parametrize("every", [3, 4, 5])
@pytest.mark.parametrize("cut_at", [6, 8, 12, 13, 15])
def test_cut_off_at_any_step_the_same_spikes_are_found(tmp_path, device, cut_at, every):
    """The limit follows the losses by steps of its own, which are not those of the saves."""
    changes = {
        "stability__spike_deviations": 6,
        "stability__spike_history": 4,
        "stability__judge_every": every,
        "checkpoint__every": "2 steps",
    }
    run(make(tmp_path / "straight", **(changes | {"checkpoint__every": "16 steps"})), SPIKES)
    config = make(tmp_path / "cut", **changes)
    run(config, SPIKES, cut_at=cut_at)
    run(config, SPIKES)
    one, other = (find_checkpoint(tmp_path / name) for name in ("straight", "cut"))
    assert bits_of(one) == bits_of(other)
    assert anomalies(tmp_path / "straight") == anomalies(tmp_path / "cut")
    assert 7 in [line["step"] for line in anomalies(tmp_path / "cut")]


def test_the_host_learns_late_and_goes_back_all_the_same(tmp_path, device):
    changes = {"stability__judge_every": 4, "checkpoint__every": "8 steps"}
    run(make(tmp_path / "late", **changes), BAD)
    run(make(tmp_path / "at_once", **(changes | {"stability__judge_every": 1})), BAD)
    one, other = (find_checkpoint(tmp_path / name) for name in ("late", "at_once"))
    assert bits_of(one) == bits_of(other)
    assert anomalies(tmp_path / "late") == anomalies(tmp_path / "at_once")
    assert [line["step"] for line in anomalies(tmp_path / "late")] == [9, 10, 11]


def test_a_run_that_goes_back_too_often_ends_and_keeps_its_checkpoint(tmp_path, device):
    factors = dict.fromkeys(range(5, 16), math.nan)
    with pytest.raises(TrainError, match="the run has gone back 2 times already.*--override"):
        run(make(tmp_path, stability__max_rollbacks=2), factors)
    assert read_state(find_checkpoint(tmp_path))["num_updates"] == 4  # of sound steps
    assert not RunDir(tmp_path).done_path.exists()


def test_bad_from_the_start_there_is_nothing_to_go_back_to(tmp_path, device):
    with pytest.raises(TrainError, match="step 2: 3 steps in a row .* no checkpoint to go back"):
        run(make(tmp_path), dict.fromkeys(range(16), math.nan))


def test_a_window_at_the_end_is_saved_too(tmp_path, device):
    run(make(tmp_path, stability__skip_steps=[[14, 30]]), {})
    assert list_checkpoints(tmp_path)[-1].name == "step_00000016"
    assert read_state(find_checkpoint(tmp_path))["num_updates"] == 14
    assert RunDir(tmp_path).done_path.exists()


@pytest.mark.parametrize("window", [[3, 3], [5, 2], [-1, 4]])
def test_a_window_that_is_none_is_refused(tmp_path, window):
    with pytest.raises(ValueError, match="skip_steps must be windows"):
        make(tmp_path, stability__skip_steps=[window])


def test_twice_as_many_steps_make_the_host_wait_no_oftener(tmp_path, device):
    """Between lines, saves and judgements the loop reads nothing from the device either."""
    found = []
    for steps in (8, 16):
        config = make(
            tmp_path / str(steps),
            schedule__duration=f"{steps} steps",
            checkpoint__every="16 steps",
            log__every="16 steps",
            stability__judge_every=16,
        )
        with HostWaits() as waits:
            run_fit(config)
        found.append(Counter(waits.found))
    # Each step's outcome is read once, long after it was copied to the host.
    assert found[1] - found[0] == {"tolist": 8}
