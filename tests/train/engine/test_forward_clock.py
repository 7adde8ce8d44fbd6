import time

import pytest
import torch

from retfm_dist.train.engine.forward_clock import ForwardClock


def test_what_is_done_meanwhile_counts_once():
    clock = ForwardClock(torch.device("cpu"))
    assert clock.take_s() == 0.0
    for _ in range(2):
        with clock.running():
            time.sleep(0.02)
        time.sleep(0.05)
    assert clock.take_s() == pytest.approx(0.04, abs=0.02)
    assert clock.take_s() == 0.0


@pytest.mark.gpu
def test_on_a_gpu_the_device_counts():
    device = torch.device("cuda", 0)
    clock = ForwardClock(device)
    factor = torch.randn(4096, 4096, device=device)
    with clock.running():
        for _ in range(20):
            factor = factor @ factor / 64
    assert clock.take_s() > 1e-3
