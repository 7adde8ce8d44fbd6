import math

import pytest
import torch
from torch import nn

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.engine.own_gradients import OwnGradients
from tests.fakes.training import TinyMae, accumulate, tiny_config


def test_what_is_not_finite_anywhere_is_noticed_until_it_is_asked_for():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    watch = OwnGradients(model, device=torch.device("cpu"))
    for factor, expected in ((1.0, True), (math.inf, False), (1.0, True)):
        (model(torch.ones(4, 2)).sum() * factor).backward()
        assert watch.take().item() is expected
    (model(torch.ones(4, 2)).sum() * math.nan).backward()
    model(torch.ones(4, 2)).sum().backward()  # of a later micro-batch, which is sound
    assert not watch.take()
    watch.close()
    (model(torch.ones(4, 2)).sum() * math.nan).backward()
    assert watch.take()


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_it_sees_the_gradients_under_deepspeed(tmp_path, device, stage):
    config = tiny_config(tmp_path, engine__zero_stage=stage)
    model = TinyMae()
    engine = Engine(config, model=model, ranks=Ranks(), device=device)
    accumulate(engine, config, Ranks(), 0)
    assert engine.has_finite_gradients()
    model.norm.register_full_backward_hook(lambda *_: (torch.full((4, 4, 25), math.nan),))
    accumulate(engine, config, Ranks(), 1)
    assert not engine.has_finite_gradients()
    engine.close()
