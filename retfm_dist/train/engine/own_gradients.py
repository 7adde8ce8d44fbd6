"""Whether a rank's own gradients are finite, before the ranks average them and none is named."""

import torch
from torch import nn


class OwnGradients:
    """Watches the gradient of a model's first parameter, on the device; the host waits for nothing.

    The gradient flows to the first parameter of a model through all of it, so what is not finite
    on its way is not finite there. A hook of the parameter sees it before it is accumulated and
    before DeepSpeed takes it away.

    Args:
        model: The model, with parameters that are trained.
        device: Where it computes.
    """

    def __init__(self, model: nn.Module, *, device: torch.device) -> None:
        """Begin to watch."""
        self._is_finite = torch.ones((), dtype=torch.bool, device=device)
        first = next(p for p in model.parameters() if p.requires_grad)
        self._hook = first.register_hook(self._note)

    def take(self) -> torch.Tensor:
        """Return [] bool, whether all gradients since the last call were finite."""
        taken = self._is_finite
        self._is_finite = torch.ones_like(taken)
        return taken

    def close(self) -> None:
        """Watch no longer."""
        self._hook.remove()

    def _note(self, gradient: torch.Tensor) -> None:
        self._is_finite &= torch.isfinite(gradient).all()
