"""AdamW and its parameter groups.

The optimizer is PyTorch's own, handed to DeepSpeed ready made: DeepSpeed's fused Adam would be
compiled at start-up, for minutes.
"""

from typing import Any

import torch
from torch import nn

from retfm_dist.config import OptimizerConfig
from retfm_dist.errors import TrainError


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay acts on a parameter.

    Biases and tensors of one dimension (LayerNorm) are spared; the class and mask tokens,
    [1, 1, D], are not.

    Source: He et al. 2022, arXiv:2111.06377: the released code groups parameters by timm's rule.
    """
    return parameter.ndim > 1 and not name.endswith(".bias")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters into those with and without weight decay.

    Frozen parameters (the sine tables) are in neither group; an empty group is left out.

    Args:
        model: The model; names as in `named_parameters()`.
        weight_decay: Decay of the first group.

    Returns:
        Groups for a PyTorch optimizer, each with "params" and "weight_decay".

    Raises:
        TrainError: Nothing is trainable.
    """
    decayed, spared = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (decayed if decays(name, parameter) else spared).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise TrainError("the model has no trainable parameter")
    return groups


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Build AdamW over a model's parameter groups; the learning rate is set before each step.

    It is the fused one, which does the update in one kernel and can be kept from it by a value
    on the device.

    Args:
        model: The model, on any device.
        config: Moments, epsilon and weight decay.
    """
    return torch.optim.AdamW(
        parameter_groups(model, config.weight_decay),
        lr=0.0,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )
