"""Tensors in files of a local disk, for an optimizer state that host memory cannot hold.

The kernel keeps of such a tensor what it has memory for, and writes the rest to the disk; to
PyTorch it is a tensor like any other. The file has no name, so that a process that is killed leaves
nothing behind.
"""

import errno
import mmap
import os
import tempfile
from pathlib import Path

import torch

from retfm_dist.errors import SystemFailureError


class DiskTensors:
    """Makes tensors on one disk.

    Args:
        folder: An existing directory on it; on tmpfs they would be in memory all the same.
    """

    def __init__(self, folder: Path) -> None:
        """Take the directory."""
        self._folder = folder

    def zeros(self, num_values: int, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return [num_values] zeros, at least one.

        Raises:
            SystemFailureError: The directory cannot be written to, or its disk is full.
        """
        num_bytes = num_values * dtype.itemsize
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                # Without its room, the first write that finds the disk full would kill the process.
                os.posix_fallocate(file.fileno(), 0, num_bytes)
                memory = mmap.mmap(file.fileno(), num_bytes)
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise SystemFailureError(
                "no room for tensors on the disk" if is_full else "cannot keep tensors on the disk",
                where=self._folder,
                got=error.strerror,
                expected=f"{num_bytes / 1e9:.3g} GB more" if is_full else "a writable directory",
                hint="give engine.offload_dir another directory of a local disk",
            ) from error
        return torch.frombuffer(memory, dtype=dtype)

    def zeros_like(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return zeros in the shape and type of a tensor of at least one element."""
        return self.zeros(tensor.numel(), dtype=tensor.dtype).view(tensor.shape)

    def move(self, parameter: torch.Tensor) -> None:
        """Put the values of a parameter, and of its gradient, on the disk."""
        parameter.data = self.zeros_like(parameter).copy_(parameter.data)
        if parameter.grad is not None:
            parameter.grad = self.zeros_like(parameter.grad).copy_(parameter.grad)
