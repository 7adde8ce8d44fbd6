import pytest

from retfm_dist.train.engine.settings import deepspeed_config
from tests.fakes.training import tiny_config


def test_the_batch_is_fixed_and_accumulation_follows_from_the_ranks(tmp_path):
    config = tiny_config(tmp_path, schedule__micro_batch_size=2)
    for world_size, grad_accum_steps in ((1, 4), (2, 2), (4, 1)):
        values = deepspeed_config(config, world_size=world_size)
        assert values["train_batch_size"] == 8
        assert values["train_micro_batch_size_per_gpu"] == 2
        assert values["gradient_accumulation_steps"] == grad_accum_steps


def test_deepspeed_neither_clips_nor_looks_nor_takes_the_time(tmp_path):
    config = tiny_config(
        tmp_path, optimizer__gradient_clipping=0.5, engine__precision="bf16", engine__zero_stage=2
    )
    values = deepspeed_config(config, world_size=2)
    assert values["gradient_clipping"] == 0.0
    assert not values["bf16"]["check_grad_overflow"]
    assert not values["zero_optimization"]["compute_grad_norm"]
    assert not values["timers"]["throughput"]["enabled"]


def test_one_rank_takes_the_same_optimizer_of_deepspeed_as_many(tmp_path):
    config = tiny_config(tmp_path, engine__precision="bf16", schedule__micro_batch_size=2)
    assert deepspeed_config(config, world_size=1)["zero_optimization"]["stage"] == 2
    accumulating = deepspeed_config(config, world_size=2)["zero_optimization"]
    assert accumulating["stage"] == 1
    assert accumulating["compute_grad_norm"]  # DeepSpeed refuses to go without
    assert deepspeed_config(config, world_size=4)["zero_optimization"]["stage"] == 1


def test_offload_keeps_the_optimizer_in_host_memory_and_pytorchs_own(tmp_path):
    values = deepspeed_config(
        tiny_config(tmp_path, engine__zero_stage=2, engine__offload_optimizer=True), world_size=1
    )
    assert values["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert values["zero_optimization"]["offload_optimizer"]["pin_memory"]
    assert not values["zero_force_ds_cpu_optimizer"]
    assert "offload_optimizer" not in deepspeed_config(tiny_config(tmp_path), world_size=1)


@pytest.mark.parametrize(
    ("micro", "accumulates_in"), [(8, None), (4, {"grad_accum_dtype": "fp32"})]
)
def test_bf16_gradients_are_summed_in_fp32(tmp_path, micro, accumulates_in):
    config = tiny_config(tmp_path, engine__precision="bf16", schedule__micro_batch_size=micro)
    values = deepspeed_config(config, world_size=1)
    assert values["bf16"]["enabled"]
    assert values.get("data_types") == accumulates_in


def test_every_key_is_one_that_deepspeed_knows(tmp_path, device):
    # Unknown top-level keys are ignored silently: a typing error would go unnoticed.
    from deepspeed.runtime import constants
    from deepspeed.runtime.zero.config import ZERO_OPTIMIZATION

    known = {value for value in vars(constants).values() if isinstance(value, str)}
    known |= {ZERO_OPTIMIZATION, "bf16", "fp16", "data_types", "timers"}
    for stage in (1, 3):
        config = tiny_config(tmp_path, engine__zero_stage=stage, engine__precision="bf16")
        assert set(deepspeed_config(config, world_size=1)) <= known


@pytest.mark.parametrize(
    ("stage", "asked", "world_size", "across_hosts", "expected"),
    [
        (1, None, 8, False, False),
        (1, None, 16, True, True),
        (1, False, 16, True, False),
        (1, True, 8, False, True),
        (2, None, 8, False, True),
        (2, None, 1, False, False),
        (3, None, 8, False, True),
    ],
)
def test_gradients_travel_beside_the_backward_pass_where_that_pays(
    tmp_path, stage, asked, world_size, across_hosts, expected
):
    config = tiny_config(
        tmp_path,
        engine__zero_stage=stage,
        engine__overlap_comm=asked,
        schedule__global_batch_size=16,
        schedule__micro_batch_size=1,
    )
    values = deepspeed_config(config, world_size=world_size, spans_hosts=across_hosts)
    assert values["zero_optimization"]["overlap_comm"] == expected
    assert values["zero_optimization"]["contiguous_gradients"] == (stage >= 2 or expected)
