import time

import pytest
import torch

from retfm_dist.train.engine.host_clock import HostClock

APART = torch.device("cuda", 0)


def test_the_shortest_step_counts_with_all_its_parts_and_nothing_between():
    clock = HostClock(APART)
    assert clock.take_s() is None
    for seconds in (0.03, 0.01, 0.05):
        for _ in range(2):
            with clock.running():
                time.sleep(seconds)
            time.sleep(0.02)
        clock.end_step()
    assert clock.take_s() == pytest.approx(0.02, abs=0.01)
    assert clock.take_s() is None


def test_a_host_that_computes_itself_has_no_time_of_its_own():
    clock = HostClock(torch.device("cpu"))
    with clock.running():
        pass
    clock.end_step()
    assert clock.take_s() is None


@pytest.mark.gpu
def test_on_a_gpu_the_host_is_done_before_the_device():
    factor = torch.randn(4096, 4096, device=APART)
    torch.cuda.synchronize()
    clock, begun_at = HostClock(APART), time.perf_counter()
    with clock.running():
        for _ in range(20):
            factor = factor @ factor / 64
    clock.end_step()
    torch.cuda.synchronize()
    assert clock.take_s() < (time.perf_counter() - begun_at) / 2
