import errno
import os

import pytest
import torch

from retfm_dist.disk_tensors import DiskTensors
from retfm_dist.errors import SystemFailureError
from tests.fakes.files import file_of


def test_zeros_are_in_a_file_that_has_no_name(tmp_path):
    tensor = DiskTensors(tmp_path).zeros(5000)
    assert (tensor.dtype, tensor.shape, tensor.any().item()) == (torch.float32, (5000,), False)
    assert file_of(tensor).startswith(str(tmp_path))
    assert file_of(torch.zeros(5000)) == ""
    assert list(tmp_path.iterdir()) == []


def test_values_stay_when_the_file_object_is_gone_and_others_are_made(tmp_path):
    disk = DiskTensors(tmp_path)
    first = disk.zeros(3000).add_(1.5)
    second = disk.zeros_like(torch.empty(2, 7, dtype=torch.bfloat16))
    assert (second.shape, second.dtype) == ((2, 7), torch.bfloat16)
    assert (first == 1.5).all()


def test_a_parameter_and_its_gradient_move_bit_for_bit(tmp_path):
    parameter = torch.nn.Parameter(torch.tensor([[-0.0, 1e-42], [float("inf"), 3.0]]))
    before = parameter.detach().clone()
    DiskTensors(tmp_path).move(parameter)
    assert parameter.grad is None
    parameter.grad = before + 1
    DiskTensors(tmp_path).move(parameter)
    assert torch.equal(parameter.detach().view(torch.int32), before.view(torch.int32))
    assert torch.equal(parameter.grad, before + 1)
    assert file_of(parameter)
    assert file_of(parameter.grad)


def test_a_full_disk_is_told_before_it_kills_the_process(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    message = f"{tmp_path}: no room for tensors on the disk; got No space left.*expected 2 GB more"
    with pytest.raises(SystemFailureError, match=message):
        DiskTensors(tmp_path).zeros(500_000_000)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SystemFailureError, match="none: cannot keep tensors on the disk; got No"):
        DiskTensors(tmp_path / "none").zeros(10)
