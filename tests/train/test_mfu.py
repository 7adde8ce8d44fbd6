import pytest
import torch

from retfm_dist.train.mfu import bf16_peak, measured_peak, utilization


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A10G", None),  # not listed, so no figure is shown
        ("Tesla V100-SXM2-16GB", None),  # has no bf16
        ("cpu", None),
    ],
)
def test_a_device_has_the_peak_of_its_datasheet_or_none(name, peak):
    assert bf16_peak(name) == peak


def test_the_measured_peak_is_that_of_a_product(monkeypatch):
    """20 products in turns of 5, timed by a clock that says 0.1 s a turn, and once less."""
    ticks = iter([0.0, 0.1, 1.0, 1.1, 2.0, 2.05, 3.0, 3.1])
    monkeypatch.setattr("retfm_dist.train.mfu.time.perf_counter", lambda: next(ticks))
    found = measured_peak(torch.device("cpu"), torch.float32)
    assert found == pytest.approx(2 * 256**3 / 0.01)


def test_the_published_run_used_three_percent_of_its_hardware():
    """RETFound: 598 images/s on 8 A100, 124.226 GFLOP each."""
    share = utilization(598, flops_per_image=124_226_000_000, peak=312e12, world_size=8)
    assert share == pytest.approx(0.0298, abs=1e-4)
