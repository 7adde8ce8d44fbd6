import math

import pytest
import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.engine.gradients import averaged_gradients, squared_norm
from tests.fakes.training import (
    OFFLOADED,
    TinyMae,
    accumulate,
    batches_of,
    sharding,
    tiny_config,
)


@pytest.mark.parametrize(
    ("stage", "precision", "micro"),
    [
        *((stage, "fp32", micro) for stage in (0, 1, 2, 3, OFFLOADED) for micro in (2, 8)),
        *((stage, "bf16", micro) for stage in (1, 2, 3, OFFLOADED) for micro in (2, 8)),
    ],
)
def test_the_norm_is_that_of_all_gradients(tmp_path, device, stage, precision, micro):
    config = tiny_config(
        tmp_path,
        **sharding(stage),
        engine__precision=precision,
        schedule__micro_batch_size=micro,
    )
    engine = Engine(config, model=(model := TinyMae()), ranks=Ranks(), device=device)
    accumulate(engine, config, Ranks(), 0)
    gradients = averaged_gradients(model, engine._engine.optimizer)
    found = squared_norm(gradients)
    engine.close()

    plain = TinyMae()
    images, noise = (
        torch.cat(parts) for parts in zip(*batches_of(config, Ranks(), 0), strict=True)
    )
    plain(images, noise).loss.backward()
    expected = sum(
        p.grad.double().square().sum().item() for p in plain.parameters() if p.grad is not None
    )
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=0.02 if precision == "bf16" else 1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_value_of_many_makes_the_norm_so(bad):
    gradients = [torch.ones(1000), torch.ones(7, 3, dtype=torch.float32)]
    assert squared_norm(gradients) == pytest.approx(1021)
    gradients[1][6, 2] = bad
    assert not torch.isfinite(squared_norm(gradients))


def test_the_norm_of_bf16_values_has_more_than_eight_bits():
    assert squared_norm([torch.full((1001,), 1.0, dtype=torch.bfloat16)]) == pytest.approx(1001)
