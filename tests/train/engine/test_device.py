import os

import pytest
import torch

from retfm_dist.errors import TrainError
from retfm_dist.train.engine import device as device_module
from retfm_dist.train.engine.device import settle_accelerator


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine without a GPU and without a driver, whatever this one has."""
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device_module, "_DRIVER", tmp_path / "version")
    return monkeypatch


def test_a_machine_without_a_gpu_trains_on_the_cpu_unless_one_is_asked_for():
    settle_accelerator("auto")
    assert "DS_ACCELERATOR" not in os.environ
    with pytest.raises(TrainError, match="engine.device: no GPU can be used; .*no NVIDIA driver"):
        settle_accelerator("cuda")


def test_the_cpu_may_be_asked_for():
    settle_accelerator("cpu")
    assert os.environ["DS_ACCELERATOR"] == "cpu"
    with pytest.raises(TrainError, match="got cuda, and DS_ACCELERATOR=cpu"):
        settle_accelerator("cuda")


def test_a_driver_that_is_too_old_is_named(machine, tmp_path):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\n")

    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX 470.57.02\nGCC version: 9\n")
    machine.setattr(torch.version, "cuda", "13.0")
    machine.setattr(torch.cuda, "init", init)
    for device in ("auto", "cuda"):
        with pytest.raises(TrainError, match="too old .* NVIDIA UNIX 470.57.02, expected"):
            settle_accelerator(device)
    machine.setenv("DS_ACCELERATOR", "cpu")
    settle_accelerator("auto")


def test_a_torch_without_cuda_is_named(machine, tmp_path):
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX 580.1\n")
    machine.setattr(torch.version, "cuda", None)
    with pytest.raises(TrainError, match="which was built without CUDA; NVRM version"):
        settle_accelerator("auto")


def test_a_gpu_that_works_is_taken(machine):
    machine.setattr(torch.cuda, "is_available", lambda: True)
    settle_accelerator("cuda")
    settle_accelerator("auto")
    assert "DS_ACCELERATOR" not in os.environ
