import pytest
import torch

from retfm_dist.disk_tensors import DiskTensors
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from tests.fakes.checkpoints import assert_same_bits, state_of
from tests.fakes.files import file_of
from tests.fakes.training import (
    OFFLOADED,
    TinyMae,
    run_fit,
    run_steps,
    sharding,
    tiny_config,
)

RANKS = Ranks()


def engine_of(config, device):
    return Engine(config, model=TinyMae(), ranks=RANKS, device=device)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_state_is_on_the_disk_and_its_bits_are_those_of_memory(tmp_path, device, precision):
    changes = {
        **sharding(OFFLOADED),
        "engine__precision": precision,
        "schedule__micro_batch_size": 4,
        "optimizer__ema_decay": 0.9,
    }
    states = []
    for more in ({}, {"engine__offload_dir": str(tmp_path)}):
        config = tiny_config(tmp_path, **changes, **more)
        engine = engine_of(config, device)
        run_steps(engine, config, RANKS, range(4))
        states.append(state_of(engine))
        owners = engine._engine.optimizer.single_partition_of_fp32_groups
        held = [*owners, *(owner.grad for owner in owners)]
        for owner in owners:
            state = engine._partitions.optimizer.state[owner]
            held += [value for key, value in state.items() if key != "step"]
        held += [p._hp_mapping.hp_fragment for p in engine._model.parameters() if p.requires_grad]
        assert {file_of(tensor).startswith(str(tmp_path)) for tensor in held} == {bool(more)}
        engine.close()
    memory, disk = states
    assert_same_bits(disk.weights, memory.weights)
    assert_same_bits(disk.average, memory.average)
    for key, moments in memory.moments.items():
        assert_same_bits(disk.moments[key], moments)


@pytest.mark.parametrize(("ema_decay", "bytes_per_parameter"), [(None, 28), (0.9, 36)])
def test_a_run_takes_the_room_that_is_documented(
    tmp_path, device, monkeypatch, ema_decay, bytes_per_parameter
):
    taken = []
    zeros = DiskTensors.zeros

    def counted(self, num_values, *, dtype=torch.float32):
        taken.append(num_values * dtype.itemsize)
        return zeros(self, num_values, dtype=dtype)

    monkeypatch.setattr(DiskTensors, "zeros", counted)
    changes = {**sharding(OFFLOADED), "optimizer__ema_decay": ema_decay}
    run_fit(tiny_config(tmp_path, **changes, engine__offload_dir=str(tmp_path)))
    num_parameters = sum(p.numel() for p in TinyMae().parameters() if p.requires_grad)
    assert sum(taken) == pytest.approx(bytes_per_parameter * num_parameters, rel=0.02)
