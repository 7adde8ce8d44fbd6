"""The DeepSpeed configuration of a run, written out in full.

DeepSpeed's defaults change between releases and unknown top-level keys are ignored silently, so
every value that matters stands here and none is left to it.
"""

from typing import Any

from retfm_dist.config import PretrainConfig

# ZeRO-3: parameters smaller than this stay whole on every rank, elements.
_PERSISTENT_ELEMENTS = 100_000


def deepspeed_config(config: PretrainConfig, *, world_size: int) -> dict[str, Any]:
    """Return the dictionary that `deepspeed.initialize` takes.

    Args:
        config: The run, checked against the world size.
        world_size: Number of ranks.
    """
    grad_accum_steps = config.grad_accum_steps(world_size)
    is_bf16 = config.engine.precision == "bf16"
    values: dict[str, Any] = {
        "train_batch_size": config.schedule.global_batch_size,
        "train_micro_batch_size_per_gpu": config.schedule.micro_batch_size,
        "gradient_accumulation_steps": grad_accum_steps,
        # DeepSpeed's default is 1.0; the recipe has no clipping.
        "gradient_clipping": config.optimizer.gradient_clipping,
        "gradient_allreduce_op": "mean",
        "prescale_gradients": False,
        "fp16": {"enabled": False},
        # Master weights and moments stay fp32. A gradient that is not finite makes step() change
        # nothing, which `Engine.update` reports.
        "bf16": {
            "enabled": is_bf16,
            "check_grad_overflow": is_bf16,
            "bf16_master_weights_and_grads": False,
            "bf16_optimizer_states": False,
        },
        "zero_optimization": _zero_config(config),
        "zero_allow_untested_optimizer": False,
        "wall_clock_breakdown": False,
        "memory_breakdown": False,
        "dump_state": False,
    }
    if is_bf16 and grad_accum_steps > 1:
        # Sums of many bf16 gradients lose what the later ones add.
        values["data_types"] = {"grad_accum_dtype": "fp32"}
    return values


def _zero_config(config: PretrainConfig) -> dict[str, Any]:
    """Return the `zero_optimization` section."""
    stage = config.engine.zero_stage
    bucket = config.engine.reduce_bucket_size
    values: dict[str, Any] = {
        "stage": stage,
        "contiguous_gradients": True,
        "reduce_scatter": True,
        "reduce_bucket_size": bucket,
        "allgather_partitions": True,
        # Even, because ZeRO asks for a multiple of its alignment of two elements.
        "allgather_bucket_size": bucket + bucket % 2,
        "overlap_comm": stage >= 2,
        "compute_grad_norm": True,
        "round_robin_gradients": False,
        "ignore_unused_parameters": True,
    }
    if stage == 3:
        values |= {
            "stage3_prefetch_bucket_size": bucket,
            "stage3_param_persistence_threshold": _PERSISTENT_ELEMENTS,
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "sub_group_size": 1_000_000_000,
        }
    return values
