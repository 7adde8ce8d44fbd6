import pytest

from retfm_dist.config.engine import EngineConfig


def engine(**values):
    return EngineConfig(**{"precision": "bf16"} | values)


def test_blocks_are_compiled_on_gpus_unless_the_weights_are_sharded():
    assert engine().compiles_on("cuda")
    assert not engine().compiles_on("cpu")
    assert not engine(zero_stage=3).compiles_on("cuda")
    assert engine(compile=True).compiles_on("cpu")
    assert not engine(compile=False).compiles_on("cuda")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"compile": True, "zero_stage": 3}, "compile needs whole weights"),
        ({"zero_stage": 0}, "zero_stage 0 is inexact in bf16"),
        ({"offload_optimizer": True}, "offload_optimizer needs zero_stage 2, got 1"),
        ({"offload_dir": "/x"}, "offload_dir is for offload_optimizer, which is false"),
        ({"offload_optimizer": True, "zero_stage": 3}, "offload_optimizer needs zero_stage 2"),
    ],
)
def test_what_does_not_go_together_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        engine(**values)
