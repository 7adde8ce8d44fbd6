"""Transfer of tensors from a background thread to the training stream of a device."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


class Transfer:
    """Copies tensors to a device on a stream of its own; does nothing on the CPU.

    The background thread works inside `stream` and calls `send`; the consumer calls `receive` on
    what it gets. Between the two, the copy is complete.

    Args:
        device: Where batches are wanted.
    """

    def __init__(self, device: torch.device) -> None:
        """Make the stream."""
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def stream(self) -> AbstractContextManager[object]:
        """Make the stream current, and its device with it, for a block of the thread."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def send(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Copy tensors to the device and wait until they are there."""
        if self._stream is None:
            return tensors
        sent = tuple(tensor.to(self._device, non_blocking=True) for tensor in tensors)
        self._stream.synchronize()
        return sent

    def receive(self, *tensors: Tensor) -> None:
        """Tell the allocator that the consumer's current stream uses the tensors.

        Without it, memory of a batch could be given to the next one while training still reads it.
        """
        if self._stream is not None:
            for tensor in tensors:
                tensor.record_stream(torch.cuda.current_stream(self._device))
