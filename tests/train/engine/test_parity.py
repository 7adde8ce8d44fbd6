"""The engine in every configuration of one rank, against the published mathematics in float64.

Two ranks are in test_two_ranks.
"""

import pytest
import torch

from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.step import Inputs, train_step
from tests.fakes.checkpoints import state_of
from tests.fakes.float64_training import BATCH, LR, STEPS, draw, first_model, oracle
from tests.fakes.training import tiny_config

CASES = [
    *((stage, micro, False, None) for stage in range(4) for micro in (2, 8)),
    *((stage, micro, True, None) for stage in range(3) for micro in (2, 8)),
    *((1, 8, compiled, kernel) for compiled in (False, True) for kernel in ("math", "flash")),
]
OFFLOADED = [(2, micro, compiled, None) for micro in (2, 8) for compiled in (False, True)]


def build(tmp_path, device, *, stage, micro, compiled, kernel, precision="fp32", offload=False):
    config = tiny_config(
        tmp_path,
        engine__zero_stage=stage,
        engine__precision=precision,
        engine__offload_optimizer=offload,
        schedule__global_batch_size=BATCH,
        schedule__micro_batch_size=micro,
    )
    model = first_model()
    model.attention_kernel = kernel
    if compiled:
        # What inductor adds is its kernels; tracing, partitioning and hooks are the same.
        model.compile_blocks(backend="aot_eager")
    return Engine(config, model=model, ranks=Ranks(), device=device)


def train(engine, step, micro):
    images, noise = draw(step)
    cut = zip(images.split(micro), noise.split(micro), strict=True)
    inputs = [Inputs(*pair, torch.zeros(micro)) for pair in cut]
    result = train_step(engine, inputs, grad_accum_steps=len(inputs), lr=LR, limit=1e9)
    assert result.is_updated
    return result.loss.item()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's own tracing
@pytest.mark.parametrize(
    ("stage", "micro", "compiled", "kernel", "offload"),
    [*((*case, False) for case in CASES), *((*case, True) for case in OFFLOADED)],
)
def test_loss_gradients_and_curve_are_those_of_float64(
    tmp_path, device, stage, micro, compiled, kernel, offload
):
    losses, gradients = oracle()
    engine = build(
        tmp_path,
        device,
        stage=stage,
        micro=micro,
        compiled=compiled,
        kernel=kernel,
        offload=offload,
    )
    curve = [train(engine, 0, micro)]
    # The first moment after the first update is a tenth of the gradient.
    moments = state_of(engine).moments["exp_avg"]
    curve += [train(engine, step, micro) for step in range(1, STEPS)]
    engine.close()
    assert curve[0] == pytest.approx(losses[0], rel=1e-6)
    assert moments.keys() == gradients.keys()
    for name, expected in gradients.items():
        scale = expected.abs().max()
        found = 10 * moments[name].double()
        torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5, msg=name)
    assert curve == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize(
    ("stage", "micro", "offload"),
    [
        *((stage, micro, False) for stage, micro in ((1, 8), (1, 2), (2, 8), (2, 2), (3, 8))),
        *((2, micro, True) for micro in (2, 8)),
    ],
)
def test_bf16_stays_within_its_rounding(tmp_path, device, stage, micro, offload):
    losses, _ = oracle()
    engine = build(
        tmp_path, device, stage=stage, micro=micro, compiled=False, kernel=None, precision="bf16",
        offload=offload,
    )  # fmt: skip
    curve = [train(engine, step, micro) for step in range(STEPS)]
    engine.close()
    assert curve == pytest.approx(losses, rel=2**-8)
