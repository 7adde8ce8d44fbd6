"""A training step: model x batch x precision x attention x compilation x ZeRO stage.

    python -m benchmarks.train_step [--size L] [--batches 224] [--precisions bf16] [--stages 1]
                                    [--compile off on] [--attention auto] [--json FILE]

One rank on one batch that lies ready, so the data path has no part in it. The peer is plain PyTorch
on the same weights (autocast where it is bf16, PyTorch's own choice of attention, fused AdamW) that
takes turns with ours. The limit is what a large matrix product reaches here, over the operations of
the reference model's step on an image (124.226 GFLOP for ViT-L/16); the share of the datasheet's
peak is in the name where the device is known, and so is by how much the loss of ours differs from
the peer's after as many steps.
"""

import argparse
import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.rows import Row, machine_of, report
from benchmarks.training import (
    NARROW,
    Setting,
    draw_inputs,
    our_way,
    plain_way,
    take_turns,
)
from retfm_dist.model.attention import KERNELS
from retfm_dist.model.flops import train_flops_per_image
from retfm_dist.model.sizes import MAE_SIZES
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
from retfm_dist.train.metrics import peak_memory_bytes
from retfm_dist.train.mfu import bf16_peak, measured_peak

MODELS = {**MAE_SIZES, "narrow": NARROW}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=MODELS, default="L")
    parser.add_argument("--batches", type=int, nargs="+", default=[224])
    parser.add_argument("--precisions", choices=DTYPES, nargs="+", default=["bf16"])
    parser.add_argument("--stages", type=int, nargs="+", default=[1])
    parser.add_argument("--compile", choices=("off", "on"), nargs="+", default=["off", "on"])
    parser.add_argument("--attention", choices=("auto", *KERNELS), nargs="+", default=["auto"])
    parser.add_argument("--steps", type=int, default=10, help="steps of a way in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = start_ranks(Ranks(), timeout_s=600)
    rows: list[Row] = []
    for setting in settings_of(arguments):
        rows += measure(setting, device, steps=arguments.steps, rounds=arguments.rounds)
    stop_ranks()
    report(f"Training step, {arguments.size}, one rank", rows, arguments.json)


def settings_of(arguments: argparse.Namespace) -> Iterator[Setting]:
    """Yield the settings of the matrix; an attention kernel by name only at the first stage."""
    for batch_size, precision, stage, compiled, attention in itertools.product(
        arguments.batches,
        arguments.precisions,
        arguments.stages,
        arguments.compile,
        arguments.attention,
    ):
        yield Setting(
            MODELS[arguments.size],
            batch_size=batch_size,
            precision=precision,
            zero_stage=stage,
            compiled=compiled == "on",
            attention=None if attention == "auto" else attention,
        )


def measure(setting: Setting, device: torch.device, *, steps: int, rounds: int) -> list[Row]:
    """Measure a setting, interleaved with its peer."""
    inputs = draw_inputs(setting, device)
    peer = Setting(setting.model, setting.batch_size, setting.precision)
    with our_way(setting, inputs, device) as ours:
        ways = {"ours": ours, "peer": plain_way(peer, inputs, device)}
        times = take_turns(ways, steps=steps, rounds=rounds, device=device)
        # Both have made as many steps by now.
        loss, expected = (ways[name]().item() for name in ("ours", "peer"))
    rates = {name: setting.batch_size / statistics.median(found) for name, found in times.items()}
    ratios = [a / b for a, b in zip(times["peer"], times["ours"], strict=True)]
    num_flops = train_flops_per_image(setting.model)
    limit = measured_peak(device, DTYPES[setting.precision]) / num_flops
    machine = machine_of(device)
    memory = peak_memory_bytes(device) / 2**30
    name = describe(setting)
    return [
        Row(
            f"{name}{utilization(rates['ours'], num_flops, machine)}, peak {memory:.1f} GiB, "
            f"loss {loss / expected - 1:+.0e}",
            rates["ours"], "images/s", "plain PyTorch", statistics.median(ratios), limit, machine,
        ),
        Row(
            f"plain PyTorch, {setting.precision}, batch {setting.batch_size}"
            f"{utilization(rates['peer'], num_flops, machine)}",
            rates["peer"], "images/s", "", 1.0, limit, machine,
        ),
    ]  # fmt: skip


def describe(setting: Setting) -> str:
    """Return a setting in a few words."""
    compiled = "compiled" if setting.compiled else "eager"
    return (
        f"ZeRO-{setting.zero_stage}, {setting.precision}, batch {setting.batch_size}, {compiled}, "
        f"attention {setting.attention or 'auto'}"
    )


def utilization(rate: float, num_flops: int, device_name: str) -> str:
    """Return the share of the datasheet's bf16 peak, for a name; "" where the device is unknown."""
    peak = bf16_peak(device_name)
    return "" if peak is None else f": {rate * num_flops / peak:.1%} of {peak / 1e12:.0f} TFLOP/s"


if __name__ == "__main__":
    main()
