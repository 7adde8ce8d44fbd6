"""One rank, in this process, against plain PyTorch; two ranks are in test_two_ranks."""

import math

import pytest
import torch

from retfm_dist.errors import CheckpointError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine, load_weights
from retfm_dist.train.engine.optimizer import parameter_groups
from retfm_dist.train.schedule import plan_run
from tests.fakes.checkpoints import assert_same_bits, state_of, weights_of
from tests.fakes.training import (
    OFFLOADED,
    ON_DISK,
    TinyMae,
    accumulate,
    batches_of,
    run_steps,
    sharding,
    tiny_config,
)

RANKS = Ranks()
CASES = [
    (0, "fp32", 4), (1, "fp32", 4), (2, "fp32", 4), (3, "fp32", 4),
    (1, "bf16", 4), (2, "bf16", 4), (3, "bf16", 4), (1, "bf16", 8), (3, "bf16", 8),
    (OFFLOADED, "fp32", 4), (OFFLOADED, "fp32", 8), (OFFLOADED, "bf16", 4), (ON_DISK, "bf16", 4),
]  # fmt: skip


def config_of(tmp_path, stage, precision, micro, **changes):
    return tiny_config(
        tmp_path,
        **sharding(stage),
        engine__precision=precision,
        schedule__micro_batch_size=micro,
        **changes,
    )


def run_plain(config, steps):
    """Train the same with PyTorch alone, the whole batch at once."""
    model = TinyMae()
    plan = plan_run(config, steps_per_epoch=4)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=0.0, betas=(0.9, 0.95))
    losses = []
    for step in steps:
        images, noise = (
            torch.cat(parts) for parts in zip(*batches_of(config, RANKS, step), strict=True)
        )
        loss = model(images, noise).loss
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = plan.lr(step)
        optimizer.step()
        losses.append(loss.item())
    return losses, model


@pytest.mark.parametrize("stage", [0, 1, 2, 3, OFFLOADED])
def test_every_stage_trains_as_plain_pytorch_does(tmp_path, device, stage):
    config = tiny_config(tmp_path, **sharding(stage), schedule__micro_batch_size=2)
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    losses = run_steps(engine, config, RANKS, range(4))
    plain_losses, plain = run_plain(config, range(4))
    assert losses == pytest.approx(plain_losses, rel=1e-6)
    weights = weights_of(engine)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(weights[name], parameter.detach(), rtol=1e-5, atol=1e-6)
    engine.close()


def test_the_optimizer_is_in_host_memory_where_asked_for(tmp_path, device):
    for stage in (2, OFFLOADED):
        config = tiny_config(tmp_path, **sharding(stage))
        engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
        assert engine._engine.optimizer.cpu_offload == (stage == OFFLOADED)
        engine.close()


def test_bf16_stays_near_fp32(tmp_path, device):
    config = tiny_config(tmp_path, engine__precision="bf16")
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    losses = run_steps(engine, config, RANKS, range(4))
    assert losses == pytest.approx(run_plain(config, range(4))[0], rel=0.02)
    engine.close()


@pytest.mark.parametrize(("stage", "precision", "micro"), CASES)
def test_restored_state_goes_on_bit_for_bit(tmp_path, device, stage, precision, micro):
    config = config_of(tmp_path, stage, precision, micro)
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    run_steps(engine, config, RANKS, range(3))
    saved = state_of(engine)
    straight_losses = run_steps(engine, config, RANKS, range(3, 6))
    straight = state_of(engine)
    engine.close()

    other = Engine(config, model=TinyMae(seed=9), ranks=RANKS, device=device, saved=saved)
    assert_same_bits(weights_of(other), saved.weights)
    assert other.num_updates() == saved.num_updates == 3
    assert run_steps(other, config, RANKS, range(3, 6)) == straight_losses
    resumed = state_of(other)
    assert_same_bits(resumed.weights, straight.weights)
    for key in ("exp_avg", "exp_avg_sq"):
        assert_same_bits(resumed.moments[key], straight.moments[key])
    other.close()


@pytest.mark.parametrize(("stage", "precision", "micro"), CASES)
def test_the_running_mean_follows_the_weights_and_goes_on_bit_for_bit(
    tmp_path, device, stage, precision, micro
):
    config = config_of(tmp_path, stage, precision, micro, optimizer__ema_decay=0.25)
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    expected = {name: value.double() for name, value in weights_of(engine).items()}
    del expected["pos_embed"]  # frozen
    saved = None
    for step in range(5):
        run_steps(engine, config, RANKS, range(step, step + 1))
        weights, count = weights_of(engine), step + 1
        decay = min(0.25, (1 + count) / (10 + count))
        for name in expected:
            expected[name] = decay * expected[name] + (1 - decay) * weights[name].double()
        saved = state_of(engine) if step == 2 else saved
    straight = state_of(engine)
    engine.close()
    assert straight.average.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(straight.average[name].double(), value, rtol=1e-5, atol=1e-7)

    other = Engine(config, model=TinyMae(seed=9), ranks=RANKS, device=device, saved=saved)
    run_steps(other, config, RANKS, range(3, 5))
    assert_same_bits(state_of(other).average, straight.average)
    other.close()


def test_a_running_mean_may_begin_late_and_a_bad_step_leaves_it(tmp_path, device):
    plain = tiny_config(tmp_path)
    engine = Engine(plain, model=TinyMae(), ranks=RANKS, device=device)
    run_steps(engine, plain, RANKS, range(2))
    saved = state_of(engine)
    engine.close()
    assert saved.average == {}
    config = tiny_config(tmp_path, optimizer__ema_decay=0.9)
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device, saved=saved)
    trained = {name: value for name, value in saved.weights.items() if name != "pos_embed"}
    assert_same_bits(state_of(engine).average, trained)
    (images, noise), *_ = batches_of(config, RANKS, 2)
    engine.forward_backward(images, noise, is_last=True)
    norm = engine.squared_gradient_norm().sqrt()
    assert not engine.update(0.1, norm=norm, is_sound=torch.tensor(False))
    assert_same_bits(state_of(engine).average, trained)
    engine.close()


@pytest.mark.parametrize(("stage", "precision"), [(1, "fp32"), (1, "bf16"), (3, "bf16")])
def test_first_weights_and_frozen_tables_are_not_rounded(tmp_path, device, stage, precision):
    config = tiny_config(tmp_path, **sharding(stage), engine__precision=precision)
    model = TinyMae()
    exact = {name: p.detach().clone() for name, p in model.named_parameters()}
    engine = Engine(config, model=model, ranks=RANKS, device=device)
    assert_same_bits(weights_of(engine), exact)
    run_steps(engine, config, RANKS, range(2))
    assert torch.equal(weights_of(engine)["pos_embed"], exact["pos_embed"])
    engine.close()


def test_the_sign_of_zero_survives(tmp_path, device):
    model = TinyMae()
    with torch.no_grad():
        model.encoder.bias.fill_(-0.0)
    engine = Engine(tiny_config(tmp_path), model=model, ranks=RANKS, device=device)
    assert torch.signbit(weights_of(engine)["encoder.bias"]).all()
    engine.close()


@pytest.mark.parametrize(
    ("stage", "precision"),
    [(0, "fp32"), (1, "fp32"), (2, "bf16"), (3, "fp32"), (OFFLOADED, "bf16")],
)
def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path, device, stage, precision):
    config = tiny_config(
        tmp_path,
        **sharding(stage),
        engine__precision=precision,
        schedule__micro_batch_size=8,
    )
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    run_steps(engine, config, RANKS, range(2))
    before = weights_of(engine)
    engine._model.norm.weight.register_hook(lambda gradient: gradient * math.nan)
    accumulate(engine, config, RANKS, 2)
    norm = engine.squared_gradient_norm().sqrt()
    assert not torch.isfinite(norm)
    assert not engine.update(0.01, norm=norm, is_sound=torch.isfinite(norm))
    assert_same_bits(weights_of(engine), before)
    engine.close()


STAGES = [(0, "fp32"), (1, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16"), (2, "bf16"), (3, "bf16")]
STAGES += [(OFFLOADED, "fp32"), (OFFLOADED, "bf16")]


@pytest.mark.parametrize(("stage", "precision"), STAGES)
@pytest.mark.parametrize("micro", [2, 8])
def test_a_step_that_is_not_sound_changes_neither_weights_nor_moments(
    tmp_path, device, stage, precision, micro
):
    config = config_of(tmp_path, stage, precision, micro)
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    run_steps(engine, config, RANKS, range(2))
    before = state_of(engine)
    accumulate(engine, config, RANKS, 2)
    is_sound = torch.tensor(False)  # a spike: all gradients are finite
    assert not engine.update(0.01, norm=torch.tensor(1.0), is_sound=is_sound)
    after = state_of(engine)
    assert_same_bits(after.weights, before.weights)
    for key in ("exp_avg", "exp_avg_sq"):
        assert_same_bits(after.moments[key], before.moments[key])
    assert after.num_updates == before.num_updates == 2
    run_steps(engine, config, RANKS, [3])
    assert engine.num_updates() == 3
    engine.close()


@pytest.mark.parametrize(("stage", "precision"), STAGES)
def test_gradients_are_clipped_as_pytorch_clips_them(tmp_path, device, stage, precision):
    max_norm = 0.01
    config = tiny_config(
        tmp_path,
        **sharding(stage),
        engine__precision=precision,
        optimizer__gradient_clipping=max_norm,
    )
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    run_steps(engine, config, RANKS, range(1))
    found = state_of(engine).moments["exp_avg"]
    engine.close()

    plain = TinyMae()
    images, noise = (torch.cat(p) for p in zip(*batches_of(config, RANKS, 0), strict=True))
    plain(images, noise).loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), max_norm)
    assert norm > 10 * max_norm
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            # The first moment of the first update is a tenth of the gradient.
            tolerance = {"rtol": 0.05, "atol": 1e-5} if precision == "bf16" else {}
            torch.testing.assert_close(found[name], 0.1 * parameter.grad, **tolerance)


@pytest.mark.parametrize("stage", [1, 3])
def test_looking_at_the_model_does_not_change_training(tmp_path, device, stage):
    config = tiny_config(tmp_path, **sharding(stage))
    weights = []
    for looks in (False, True):
        engine = Engine(config, model=(model := TinyMae()), ranks=RANKS, device=device)
        for step in range(3):
            run_steps(engine, config, RANKS, [step])
            if looks:
                with engine.evaluating():
                    assert not model.training
                    images, noise = next(batches_of(config, RANKS, 0))
                    assert not model(images, noise).loss.requires_grad
                assert model.training
        weights.append(weights_of(engine))
        engine.close()
    assert_same_bits(*weights)


def test_rates_decays_and_betas_of_every_update_are_those_of_a_table(tmp_path, device):
    # 0.3 x 8 / 256, a warm-up of two steps from 0, then half a cosine over four.
    peak = 0.009375
    table = [0.0, peak / 2, peak, 0.8535533905932737 * peak, peak / 2, 0.14644660940672627 * peak]
    config = tiny_config(tmp_path, engine__zero_stage=1)
    plan = plan_run(config, steps_per_epoch=4)
    engine = Engine(config, model=TinyMae(), ranks=RANKS, device=device)
    for step, lr in enumerate(table):
        run_steps(engine, config, RANKS, [step])
        decayed, spared = engine._partitions.optimizer.param_groups
        assert decayed["lr"] == spared["lr"] == pytest.approx(lr, rel=1e-12, abs=1e-18)
        assert (decayed["weight_decay"], spared["weight_decay"]) == (0.05, 0.0)
        assert decayed["betas"] == spared["betas"] == (0.9, 0.95)
        assert decayed["eps"] == spared["eps"] == 1e-8
    assert plan.total_steps == len(table)
    engine.close()


def test_weights_of_another_model_are_refused():
    weights = dict(TinyMae().named_parameters())
    del weights["cls_token"]
    with pytest.raises(CheckpointError, match="another model; got 1 missing: cls_token"):
        load_weights(TinyMae(), weights)
    weights = dict(TinyMae().named_parameters()) | {"head.weight": torch.zeros(2)}
    with pytest.raises(CheckpointError, match="another model; got 1 unexpected: head.weight"):
        load_weights(TinyMae(), weights)
