"""Whether this device computes what the published formulas say, before anything is timed on it.

    python -m benchmarks.device_parity [--steps N] [--json FILE]

A small masked autoencoder trains for some steps in every configuration: precision, ZeRO stage,
compilation, attention kernel. The oracle is the published mathematics in float64 on the CPU
(`tests/fakes/published_mae.py`, which shares no code with the package) with PyTorch's AdamW. The
value is the largest relative difference of a loss from the oracle's; the limit is what the number
format allows: 1e-5 in fp32, 2**-8 in bf16. The command ends with exit code 1 if one is above it.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.rows import Row, machine_of, report
from benchmarks.training import LR, Setting, our_way
from benchmarks.training import draw_inputs as draw
from retfm_dist.config.schema import ModelConfig
from retfm_dist.model.attention import KERNELS
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.optimizer import parameter_groups
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
from tests.fakes.published_mae import published_mae

SMALL = ModelConfig(
    img_size=64,
    patch_size=8,
    embed_dim=128,
    depth=3,
    num_heads=2,
    decoder_embed_dim=64,
    decoder_depth=2,
    decoder_num_heads=2,
    mask_ratio=0.75,
    norm_pix_loss=True,
)
BATCH_SIZE = 16
ALLOWED = {"fp32": 1e-5, "bf16": 2**-8}


def main() -> None:
    """Compare and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    # TF32 is no float32; a run does not use it either.
    torch.backends.cuda.matmul.allow_tf32 = False
    device = start_ranks(Ranks(), timeout_s=600)
    expected = oracle(arguments.steps)
    rows, is_right = [], True
    for setting in settings(device):
        try:
            error = largest_error(setting, expected, device)
        except RuntimeError as refusal:
            print(f"{describe(setting)}: not on this device: {str(refusal).splitlines()[0]}")
            continue
        allowed = ALLOWED[setting.precision]
        is_right = is_right and error <= allowed
        machine = machine_of(device)
        rows.append(Row(describe(setting), error, "of the loss", "float64", 1.0, allowed, machine))
    stop_ranks()
    report(f"Difference from the published mathematics, {device.type}", rows, arguments.json)
    sys.exit(0 if is_right else 1)


def settings(device: torch.device) -> Iterator[Setting]:
    """Yield every configuration that this device has."""
    for precision, stage in itertools.product(("fp32", "bf16"), (0, 1, 2, 3)):
        if precision == "fp32" or stage > 0:
            yield Setting(SMALL, BATCH_SIZE, precision, stage)
    for precision in ("fp32", "bf16"):
        for kernel in KERNELS:
            yield Setting(SMALL, BATCH_SIZE, precision, 1, attention=kernel)
        if device.type == "cuda":  # where a compiled step pays, and compiling is quick enough
            yield Setting(SMALL, BATCH_SIZE, precision, 1, compiled=True)


def describe(setting: Setting) -> str:
    """Return a configuration in a few words."""
    compiled = "compiled" if setting.compiled else "eager"
    kernel = setting.attention or "auto"
    return f"{setting.precision}, ZeRO-{setting.zero_stage}, {compiled}, attention {kernel}"


def oracle(num_steps: int) -> list[float]:
    """Return the loss of each step in float64."""
    setting = Setting(SMALL, BATCH_SIZE)
    model = setting.build().double()
    weights = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        parameter_groups(model, 0.05), lr=LR, betas=(0.9, 0.95), foreach=False
    )
    inputs = draw(setting, torch.device("cpu"))
    losses = []
    for _ in range(num_steps):
        found = published_mae(weights, inputs.images, inputs.noise, arguments=SMALL.model_dump())
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        losses.append(found.loss.item())
    return losses


def largest_error(setting: Setting, expected: list[float], device: torch.device) -> float:
    """Return the largest relative difference of a loss; infinite where one is not finite."""
    with our_way(setting, draw(setting, device), device) as step:
        errors = [abs(step().item() / loss - 1) for loss in expected]
    return max(error if error == error else float("inf") for error in errors)


if __name__ == "__main__":
    main()
