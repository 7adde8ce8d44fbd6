import math
import random
import statistics

import pytest
import torch

from retfm_dist.config.schema import StabilityConfig
from retfm_dist.train.stability import Judge, StepOutcome, is_sound


def outcome(step, losses, *, is_updated, limit=1e30, is_finite=None):
    finite = (True,) * len(losses) if is_finite is None else is_finite
    return StepOutcome(step, tuple(losses), finite, is_updated, limit)


def judged(judge, losses, *, begin=0):
    """Judge steps of one rank as a run does: a step above the limit is not updated."""
    found = []
    for step, loss in enumerate(losses, begin):
        limit = judge.limit
        is_updated = math.isfinite(loss) and loss <= limit
        found.append(judge.judge(outcome(step, [loss], is_updated=is_updated, limit=limit)))
        judge.set_limit()
    return found


def test_a_rank_whose_loss_is_not_finite_is_named():
    judge = Judge(StabilityConfig())
    found = judge.judge(outcome(7, [0.5, math.nan, 0.4, math.inf], is_updated=False))
    assert found is not None
    assert (found.step, found.kind, found.ranks) == (7, "loss", (1, 3))
    assert found.words == "the loss is not finite on rank 1, 3"


def test_a_rank_whose_gradient_is_not_finite_is_named():
    judge = Judge(StabilityConfig())
    found = judge.judge(outcome(7, [0.5, 0.4], is_updated=False, is_finite=(True, False)))
    assert found is not None
    assert (found.kind, found.ranks) == ("gradient", (1,))
    assert found.words == "the gradient is not finite on rank 1"


def test_a_gradient_that_is_not_finite_in_the_sum_alone_names_no_rank():
    found = Judge(StabilityConfig()).judge(outcome(7, [0.5, 0.4], is_updated=False))
    assert found is not None
    assert (found.kind, found.ranks, found.words) == ("gradient", (), "the gradient is not finite")


def test_bad_steps_are_too_many_only_in_a_row():
    judge = Judge(StabilityConfig(skips_before_rollback=3))
    for step, loss in enumerate([math.nan, math.nan, 0.5, math.nan, math.nan]):
        judge.judge(outcome(step, [loss], is_updated=loss == 0.5))
        assert judge.too_many is None
    judge.judge(outcome(5, [math.nan], is_updated=False))
    assert judge.too_many == (3, 6)


def test_a_judge_goes_on_where_an_earlier_start_left_it():
    draw = random.Random(0)
    losses = [draw.gauss(1.0, 0.1) for _ in range(60)] + [9.0, math.nan, 9.0, 1.0, 9.0]
    config = StabilityConfig(spike_deviations=6, spike_history=16)
    straight = Judge(config)
    expected = judged(straight, losses)
    for cut in (3, 30, 61, 62, 64):
        first = Judge(config)
        found = judged(first, losses[:cut])
        second = Judge(config, first.state())
        found += judged(second, losses[cut:], begin=cut)
        assert [p and (p.step, p.kind) for p in found] == [p and (p.step, p.kind) for p in expected]
        assert second.state() == straight.state()


def test_the_limit_is_the_median_and_robust_deviations():
    draw = random.Random(1)
    losses = [draw.gauss(2.0, 0.5) for _ in range(64)]
    judge = Judge(StabilityConfig(spike_deviations=50, spike_history=64))
    judged(judge, losses)
    median = statistics.median(losses)
    mad = statistics.median(abs(loss - median) for loss in losses)
    assert judge.limit == pytest.approx(median + 50 * 1.4826 * mad)
    assert judge.limit == pytest.approx(2.0 + 50 * 0.5, rel=0.3)  # of a normal distribution


def test_planted_spikes_are_found_and_noise_is_not():
    draw = random.Random(2)
    judge = Judge(StabilityConfig(spike_deviations=8, spike_history=64))
    # A loss that falls as one does, with noise of 3 %.
    losses = [(0.4 + math.exp(-step / 100)) * draw.gauss(1, 0.03) for step in range(2000)]
    for step in (300, 700, 1500):
        losses[step] *= 2
    found = [problem.step for problem in judged(judge, losses) if problem]
    assert found == [300, 700, 1500]
    assert judged(judge, [losses[-1] * 2])[0].words.startswith("the loss is 0.")


def test_without_history_or_when_off_nothing_is_a_spike():
    judge = Judge(StabilityConfig(spike_deviations=3, spike_history=64))
    assert not any(judged(judge, [1.0] * 20 + [1e30]))
    assert not any(judged(Judge(StabilityConfig()), [1.0] * 100 + [1e30]))


def test_losses_that_hardly_vary_are_no_spikes():
    judge = Judge(StabilityConfig(spike_deviations=3, spike_history=16))
    assert not any(judged(judge, [1.0] * 16 + [1.02]))
    assert any(judged(judge, [1.5]))


@pytest.mark.parametrize(
    ("losses", "norm", "limit", "expected"),
    [
        ([1.0, 3.0], 5.0, 2.0, True),
        ([1.0, 3.1], 5.0, 2.0, False),
        ([1.0, math.nan], 5.0, 9.0, False),
        ([math.inf, 1.0], 5.0, torch.finfo(torch.float32).max, False),
        ([math.inf, -math.inf], 5.0, 9.0, False),
        ([1.0, 3.0], math.inf, 9.0, False),
        ([1.0, 3.0], math.nan, 9.0, False),
    ],
)
def test_a_step_is_sound_where_losses_and_gradients_are(losses, norm, limit, expected):
    found = is_sound(torch.tensor(losses), torch.tensor(norm), limit)
    assert found.shape == ()
    assert bool(found) == expected


def test_a_state_does_not_change_after_it_was_taken():
    """It is written beside training, while the judge goes on."""
    judge = Judge(StabilityConfig())
    judge.judge(outcome(0, [1.0], is_updated=True))
    judge.judge(outcome(1, [math.nan], is_updated=False))
    state = judge.state()
    judge.judge(outcome(2, [math.nan], is_updated=False))
    judge.judge(outcome(3, [1.0], is_updated=True))
    assert (state["recent_losses"], state["bad_steps"]) == ([1.0], [1])


def test_the_limit_changes_at_fixed_steps_only():
    judge = Judge(StabilityConfig(spike_deviations=3, spike_history=4, judge_every=5))
    assert [step for step in range(20) if judge.is_time(step)] == [0, 5, 10, 15]
    for step in range(4):
        judge.judge(outcome(step, [1.0], is_updated=True))
    assert judge.limit == torch.finfo(torch.float32).max
    judge.set_limit()
    assert judge.limit == pytest.approx(1.03)
    # A later start has the limit of the one before, whatever it was judged by in between.
    judge.judge(outcome(4, [9.0], is_updated=True))
    assert Judge(StabilityConfig(), judge.state()).limit == judge.limit


def test_a_step_is_judged_by_the_limit_that_it_was_begun_with():
    judge = Judge(StabilityConfig())
    assert judge.judge(outcome(0, [2.0], is_updated=False, limit=1.5)).kind == "spike"
    assert judge.judge(outcome(1, [2.0], is_updated=True, limit=2.5)) is None
