import math

import pytest

from retfm_dist.errors import TrainError
from retfm_dist.train.schedule import lr_at, plan_run
from tests.fakes.training import STEPS_PER_EPOCH, tiny_config

# ViT-L on 904,170 images: 504 steps an epoch, 800 epochs, 15 of warm-up, base rate 1.5e-4.
PAPER = {
    "total_steps": 403_200,
    "warmup_steps": 7_560,
    "peak_lr": 1.5e-4 * 1792 / 256,
    "min_lr": 0.0,
}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),
        (1, 1.05e-3 / 7_560),
        (504, 1.05e-3 / 15),  # one epoch
        (3_780, 0.525e-3),  # half of the warm-up
        (7_559, 1.05e-3 * 7_559 / 7_560),
        (7_560, 1.05e-3),  # the peak
        (205_380, 0.525e-3),  # half of the cosine
        (106_470, 1.05e-3 * (1 + math.sqrt(0.5)) / 2),  # a quarter of it
        (403_199, 1.05e-3 * (math.pi / 395_640) ** 2 / 4),  # the last update
        (403_200, 0.0),
    ],
)
def test_learning_rate_of_the_paper(step, expected):
    assert lr_at(step, **PAPER) == pytest.approx(expected, rel=1e-9, abs=1e-18)


def test_learning_rate_is_the_reference_at_fractional_epochs():
    # The reference's own form: epoch = step / steps per epoch.
    for step in range(0, 403_200, 997):
        epoch = step / 504
        if epoch < 15:
            expected = PAPER["peak_lr"] * epoch / 15
        else:
            cosine = math.cos(math.pi * (epoch - 15) / (800 - 15))
            expected = PAPER["peak_lr"] * 0.5 * (1 + cosine)
        assert lr_at(step, **PAPER) == pytest.approx(expected, rel=1e-12)


def test_cosine_ends_at_min_lr_and_starts_at_peak_without_warmup():
    curve = {"total_steps": 10, "warmup_steps": 0, "peak_lr": 1.0, "min_lr": 0.25}
    assert lr_at(0, **curve) == 1.0
    assert lr_at(10, **curve) == 0.25
    values = [lr_at(step, **curve) for step in range(11)]
    assert values == sorted(values, reverse=True)


def test_a_run_that_is_all_warmup_divides_by_nothing():
    assert lr_at(4, total_steps=4, warmup_steps=4, peak_lr=1.0, min_lr=0.0) == 1.0


def test_durations_become_steps(tmp_path):
    config = tiny_config(
        tmp_path,
        schedule__duration="3 epochs",
        schedule__warmup="16 images",
        checkpoint__every="1 epochs",
        log__reconstructions_every="0.5 epochs",
    )
    plan = plan_run(config, steps_per_epoch=STEPS_PER_EPOCH)
    assert (plan.total_steps, plan.warmup_steps, plan.checkpoint_every) == (12, 2, 4)
    assert plan.reconstruct_every == 2
    assert plan.peak_lr == 0.3 * 8 / 256
    assert plan.lr(1) == plan.peak_lr / 2


def test_what_is_due_every_few_steps_is_due_at_the_end_too(tmp_path):
    plan = plan_run(tiny_config(tmp_path, schedule__duration="7 steps"), steps_per_epoch=4)
    assert [step for step in range(1, 8) if plan.is_due(step, 3)] == [3, 6, 7]
    assert not any(plan.is_due(step, 0) for step in range(1, 8))


@pytest.mark.parametrize("field", ["schedule__duration", "checkpoint__every", "log__every"])
def test_intervals_shorter_than_a_step_are_refused(tmp_path, field):
    config = tiny_config(tmp_path, **{field: "0 steps"})
    with pytest.raises(TrainError, match=field.replace("__", ".") + ": shorter than one step"):
        plan_run(config, steps_per_epoch=4)


@pytest.mark.parametrize(
    ("every", "most"), [("4 steps", "3 steps"), ("4 steps", "0 steps"), ("1 hours", "9 steps")]
)
def test_less_may_be_lost_than_the_interval_is_refused(tmp_path, every, most):
    config = tiny_config(tmp_path, checkpoint__every=every, checkpoint__max_lost=most)
    with pytest.raises(TrainError, match=f"max_lost: .*{most}, where checkpoint.every is {every}"):
        plan_run(config, steps_per_epoch=4)


def test_a_warmup_beyond_the_end_is_refused(tmp_path):
    config = tiny_config(tmp_path, schedule__warmup="7 steps")
    with pytest.raises(TrainError, match=r"schedule.warmup: .*got 7 steps, expected at most .* 6"):
        plan_run(config, steps_per_epoch=4)
