"""This rank's share of a step's averaged gradients: finding it, its norm, and none to exchange.

Like `partitions`, this module reads attributes of DeepSpeed's optimizers but does not import it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def averaged_gradients(model: nn.Module, zero_optimizer: Any) -> list[torch.Tensor]:
    """Return the gradients that this rank updates with, between backward and update.

    Args:
        model: The model that DeepSpeed wrapped.
        zero_optimizer: DeepSpeed's optimizer, or PyTorch's at stage 0.

    Returns:
        Tensors of any shape, views; over all ranks each element once, or, at stage 0, on every rank
        all. They are in host memory where the optimizer is.
    """
    if getattr(zero_optimizer, "cpu_offload", False):
        zero_optimizer._wait_for_offload_copies()  # its own step would do so later
        return [owner.grad for owner in zero_optimizer.single_partition_of_fp32_groups]
    if (flat := getattr(zero_optimizer, "fp32_groups_gradient_flat_partition", None)) is not None:
        return list(flat)  # stage 1 in bf16 with accumulation
    if (groups := getattr(zero_optimizer, "averaged_gradients", None)) is not None:
        return [gradient for group in groups.values() for gradient in _of_group(group)]
    return [p.grad for p in model.parameters() if p.grad is not None]


def exchange_nothing(engine: Any) -> None:
    """Keep an engine of one rank from averaging gradients over itself.

    DeepSpeed would copy every gradient into a buffer and back, at stages 0 and 1 for nothing else.

    Args:
        engine: DeepSpeed's.
    """
    if hasattr(engine.optimizer, "buffered_reduce_fallback"):
        engine.optimizer.buffered_reduce_fallback = lambda *gradients, **options: None
    elif not engine.zero_optimization():
        engine.enable_backward_allreduce = False


def squared_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Return the sum of squares of all gradients, [] float32; not finite where one of them is not.

    Args:
        gradients: At least one tensor, on one device.
    """
    # PyTorch's own clipping calls this too, but takes no type: a norm in bf16 would have 8 bits.
    foreach_norm: Any = vars(torch)["_foreach_norm"]
    return torch.stack(foreach_norm(gradients, 2, dtype=torch.float32)).square().sum()


def _of_group(group: Any) -> Sequence[torch.Tensor]:
    """Return a parameter group's gradients; as one tensor where they lie in one."""
    flat = getattr(group, "flat_partition", None)
    return group if flat is None else [flat]
