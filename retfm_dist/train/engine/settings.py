"""The DeepSpeed configuration of a run, written out in full.

DeepSpeed's defaults change between releases and unknown top-level keys are ignored silently, so
every value that matters stands here and none is left to it.
"""

from typing import Any

from retfm_dist.config import PretrainConfig

# ZeRO-3: parameters smaller than this stay whole on every rank, elements.
_PERSISTENT_ELEMENTS = 100_000


def deepspeed_config(
    config: PretrainConfig, *, world_size: int, spans_hosts: bool = False
) -> dict[str, Any]:
    """Return the dictionary that `deepspeed.initialize` takes.

    Args:
        config: The run, checked against the world size.
        world_size: Number of ranks.
        spans_hosts: Whether some of them are on other hosts.
    """
    grad_accum_steps = config.grad_accum_steps(world_size)
    is_bf16 = config.engine.precision == "bf16"
    sums_apart = is_bf16 and grad_accum_steps > 1
    values: dict[str, Any] = {
        "train_batch_size": config.schedule.global_batch_size,
        "train_micro_batch_size_per_gpu": config.schedule.micro_batch_size,
        "gradient_accumulation_steps": grad_accum_steps,
        # `Engine.update` clips and looks for what is not finite, without a host wait: DeepSpeed's
        # own checks wait for the device several times a step. Its default would clip at 1.0.
        "gradient_clipping": 0.0,
        "gradient_allreduce_op": "mean",
        "prescale_gradients": False,
        "fp16": {"enabled": False},
        # Master weights and moments stay fp32.
        "bf16": {
            "enabled": is_bf16,
            "check_grad_overflow": False,
            "bf16_master_weights_and_grads": False,
            "bf16_optimizer_states": False,
        },
        "zero_optimization": _zero_config(
            config,
            sums_apart=sums_apart,
            is_alone=world_size == 1,
            overlaps=world_size > 1 and _overlaps(config, spans_hosts=spans_hosts),
        ),
        "zero_allow_untested_optimizer": False,
        # In host memory too, PyTorch's AdamW updates: DeepSpeed's own would be compiled at a start.
        "zero_force_ds_cpu_optimizer": False,
        "wall_clock_breakdown": False,
        "memory_breakdown": False,
        "dump_state": False,
        # On by default, and it would wait for the device at every micro-batch.
        "timers": {"throughput": {"enabled": False, "synchronized": False}},
    }
    if sums_apart:
        # Sums of many bf16 gradients lose what the later ones add.
        values["data_types"] = {"grad_accum_dtype": "fp32"}
    return values


def _overlaps(config: PretrainConfig, *, spans_hosts: bool) -> bool:
    """Whether gradients are exchanged while the backward pass goes on.

    Within a host the exchange would take a few ms after it (computed: `benchmarks.scaling`), and
    DeepSpeed's hooks, which every parameter needs for the overlap, cost as much.
    """
    if config.engine.overlap_comm is not None:
        return config.engine.overlap_comm
    return config.engine.zero_stage >= 2 or spans_hosts


def _zero_config(
    config: PretrainConfig, *, sums_apart: bool, is_alone: bool, overlaps: bool
) -> dict[str, Any]:
    """Return the `zero_optimization` section.

    Args:
        config: The run.
        sums_apart: Whether gradients are summed in another type than the model's.
        is_alone: Whether there is one rank.
        overlaps: Whether gradients are exchanged while the backward pass goes on.
    """
    stage = config.engine.zero_stage
    if stage == 1 and sums_apart and is_alone:
        # Stage 1 would take another optimizer here, which adds every gradient by itself and waits
        # for their norm. On one rank the stages differ in nothing else.
        stage = 2
    offloads = config.engine.offload_optimizer
    bucket = config.engine.reduce_bucket_size
    values: dict[str, Any] = {
        "stage": stage,
        # At stage 1 without overlap it would put a Python hook on every parameter and copy every
        # gradient twice, for nothing.
        "contiguous_gradients": stage >= 2 or overlaps,
        "reduce_scatter": True,
        "reduce_bucket_size": bucket,
        "allgather_partitions": True,
        # Even, because ZeRO asks for a multiple of its alignment of two elements.
        "allgather_bucket_size": bucket + bucket % 2,
        "overlap_comm": overlaps,
        # DeepSpeed refuses to do without elsewhere.
        "compute_grad_norm": offloads or not (stage == 2 or (stage == 1 and not sums_apart)),
        "round_robin_gradients": False,
        "ignore_unused_parameters": True,
    }
    if offloads:
        # `Engine` moves it to a disk from there, which pinned memory would not allow.
        is_pinned = config.engine.offload_dir is None
        values["offload_optimizer"] = {"device": "cpu", "pin_memory": is_pinned}
    if stage == 3:
        values |= {
            "stage3_prefetch_bucket_size": bucket,
            "stage3_param_persistence_threshold": _PERSISTENT_ELEMENTS,
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "sub_group_size": 1_000_000_000,
        }
    return values
