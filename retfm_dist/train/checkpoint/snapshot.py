"""Copy of a rank's state on the host, laid out as its file will be."""

from collections.abc import Iterable

import numpy as np
import torch

from retfm_dist.disk_tensors import DiskTensors
from retfm_dist.train.checkpoint.layout import Stretch
from retfm_dist.train.checkpoint.part import part_header

Owned = Iterable[tuple[Stretch, torch.Tensor]]
"""Stretches that a rank owns, and their values [n] fp32 on the device."""


class Snapshot:
    """One buffer, taken again and again; pinned where it is copied from a GPU.

    Args:
        num_values: Number of fp32 values that it holds.
        device: Where the values come from.
        disk: Where the buffer is; None: in memory.
    """

    def __init__(
        self, num_values: int, *, device: torch.device, disk: DiskTensors | None = None
    ) -> None:
        """Allocate the buffer, and touch it, so that no training step waits for its pages."""
        self._device = device
        if disk is None:
            self._values = torch.empty(num_values, pin_memory=device.type == "cuda").zero_()
        else:
            self._values = disk.zeros(num_values)

    def take(self, owned: Owned) -> tuple[bytes, memoryview]:
        """Copy the values; when this returns, they may change on the device.

        Returns:
            Header and values of the rank's file. The values are overwritten by the next call.
        """
        end, stretches = 0, []
        for stretch, values in owned:
            begin, end = end, end + len(values)
            stretches.append((stretch, len(values)))
            self._values[begin:end].copy_(values, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return part_header(stretches), self._values[:end].numpy().view(np.uint8).data
