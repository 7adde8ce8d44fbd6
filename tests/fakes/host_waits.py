"""Counts where the host would wait for a device, on a machine that has none."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# What reads a value on the host: item(), bool(), float(); and what has as many values as it finds.
_READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero")
_METHODS = ("tolist", "numpy", "cpu")


class HostWaits(TorchDispatchMode):
    """Counts reads of tensors' values while it lasts.

    Attributes:
        found: Name of each call that would wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._originals = {name: getattr(torch.Tensor, name) for name in _METHODS}

    def __enter__(self):
        for name, original in self._originals.items():
            setattr(torch.Tensor, name, self._counted(name, original))
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for name, original in self._originals.items():
            setattr(torch.Tensor, name, original)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        if name in _READS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))

    def _counted(self, name: str, original: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.found.append(name)
            return original(*args, **kwargs)

        return counted
