"""Memory of batches, used again once nobody refers to a batch any more.

Fresh memory of a few megabytes is mapped page by page as it is written, and unmapped by whoever
drops the batch, the training thread, while all other threads of the process wait.
"""

import math
import weakref
from collections import deque

import numpy as np
import torch
from torch import Tensor

_MOST_KEPT = 32


class Buffers:
    """Makes uint8 tensors out of memory that comes back when they are dropped."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._free: deque[np.ndarray] = deque(maxlen=_MOST_KEPT)

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor whose values are whatever was there before."""
        size = math.prod(shape)
        try:
            block = self._free.popleft()
        except IndexError:
            block = np.empty(0, dtype=np.uint8)
        if len(block) < size:
            block = np.empty(size, dtype=np.uint8)
        # The tensor holds this view, and nobody else does: it goes with the tensor's last user.
        view = block[:size]
        weakref.finalize(view, self._free.append, block).atexit = False
        return torch.from_numpy(view).view(shape)
