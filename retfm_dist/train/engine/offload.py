"""Move what DeepSpeed offloads to host memory on to a disk.

Like `partitions`, this module reads attributes of DeepSpeed's optimizer but does not import it.
"""

from typing import Any

from torch import nn

from retfm_dist.disk_tensors import DiskTensors


def move_to_disk(model: nn.Module, zero_optimizer: Any, disk: DiskTensors) -> None:
    """Put the master weights and gradients of an offloaded stage 2 on a disk.

    Args:
        model: The model that DeepSpeed wrapped.
        zero_optimizer: DeepSpeed's optimizer, before its first step.
        disk: Where to.
    """
    owners = zero_optimizer.single_partition_of_fp32_groups
    for owner in owners:
        disk.move(owner)
    for parameter in model.parameters():
        if (mapping := getattr(parameter, "_hp_mapping", None)) is not None:
            # A view of what has been moved, which would keep it in memory.
            here = mapping.hp_fragment_address
            owner = owners[mapping.param_group_index]
            mapping.hp_fragment = owner.narrow(0, here.start, here.numel)
