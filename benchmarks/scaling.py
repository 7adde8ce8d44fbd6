"""How training scales over fabrics: a model of the communication, checked against what runs here.

    python -m benchmarks.scaling [--images-per-s 3500] [--micro-batch 224] [--size L] [--json FILE]

ZeRO-1 as this project sets it: once a step the bf16 gradients are all-reduced after the last
backward pass within a host, beside it across hosts (`engine.overlap_comm`), and the updated bf16
weights are gathered, which nothing hides. A ring moves
2 (n - 1) / n of the bytes for the first and half of that for the second. The table says, for named
fabrics and numbers of devices, the time of a step's communication and the share of the time that
is left for computing, at a rate of one device that is measured elsewhere (`--images-per-s`).

The check: two gloo ranks of this machine all-reduce buckets of the same size and train a ViT-S in
fp32; the model's prediction from the measured bandwidth and the measured step of one rank stands
beside the measured step of two.

Source: NVIDIA nccl-tests, doc/PERFORMANCE.md, for the factors. Bandwidths ("bus bandwidth") as
published in its issues 100, 149, 175, 272 and 29.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed

from benchmarks.rows import Row, machine_name, report
from benchmarks.training import Setting, clock, draw_inputs, our_way
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.sizes import MAE_SIZES
from retfm_dist.ranks.world import ranks_from_environment
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks

FABRICS: Mapping[str, tuple[int, float]] = {
    "8 A100, NVLink": (8, 232e9),
    "8 H200, NVLink 4": (8, 475e9),
    "2 x 8 A100, 4 x 200 Gb a node": (16, 88e9),
    "8 x 8 GPUs, 8 x 400 Gb a node": (64, 370e9),
    "2 x 8 GPUs, 1 x 200 Gb a node": (16, 24e9),
    "2 x 8 GPUs, 1 x 100 Gb a node": (16, 12.2e9),
}
"""Number of devices and bus bandwidth, bytes/s."""
BYTES_PER_VALUE = 2
RANKS_PER_HOST = 8
BACKWARD_SHARE = 2 / 3
BUCKET_VALUES = 25_000_000
CHECK = Setting(MAE_SIZES["S"], batch_size=2)


def main() -> None:
    """Predict, check, and report; or, started by itself, be one of the ranks of the check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images-per-s", type=float, default=3500.0, help="of one device")
    parser.add_argument("--micro-batch", type=int, default=224)
    parser.add_argument("--size", choices=MAE_SIZES, default="L")
    parser.add_argument("--rank-of-check", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.rank_of_check:
        be_a_rank(arguments.rank_of_check)
        return
    num_values = count_trained(arguments.size)
    step_s = arguments.micro_batch / arguments.images_per_s
    rows = [
        predict(name, num_ranks, bandwidth, num_values, step_s)
        for name, (num_ranks, bandwidth) in FABRICS.items()
    ]
    report(f"Scaling of a ViT-{arguments.size}", [*rows, *check()], arguments.json)


def count_trained(size: str) -> int:
    """Return the number of trained values of a size."""
    with torch.device("meta"):
        model = MaskedAutoencoder(MAE_SIZES[size])
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def exposed_s(num_bytes: int, num_ranks: int, bandwidth: float, *, hidden_s: float = 0.0) -> float:
    """Return the time of one all-reduce and one all-gather that nothing hides, s.

    Args:
        num_bytes: Bytes of the gradients, and of the weights.
        num_ranks: Number of devices, n.
        bandwidth: Bus bandwidth, bytes/s.
        hidden_s: Time of the backward pass that the all-reduce goes on beside.
    """
    gather_s = (num_ranks - 1) / num_ranks * num_bytes / bandwidth
    return max(0.0, 2 * gather_s - hidden_s) + gather_s


def predict(name: str, num_ranks: int, bandwidth: float, num_values: int, step_s: float) -> Row:
    """Return a fabric's row: the share of the time that is left for computing."""
    hidden_s = BACKWARD_SHARE * step_s if num_ranks > RANKS_PER_HOST else 0.0
    num_bytes = BYTES_PER_VALUE * num_values
    spent_s = exposed_s(num_bytes, num_ranks, bandwidth, hidden_s=hidden_s)
    efficiency = 100 * step_s / (step_s + spent_s)
    words = f"{name}: {1e3 * spent_s:.1f} ms beside a step of {1e3 * step_s:.0f} ms (computed)"
    return Row(words, efficiency, "% of the time", "", 1.0, 100.0, "computed, not measured")


def check() -> list[Row]:
    """Measure one rank and two, and return what was predicted of the two beside it."""
    with tempfile.TemporaryDirectory() as scratch:
        alone, together = (measure(n, Path(scratch) / f"{n}.json") for n in (1, 2))
    num_values = count_trained("S")
    bandwidth = 2 * (2 - 1) / 2 * 4 * BUCKET_VALUES / together["bucket_s"]
    predicted = alone["step_s"] + exposed_s(4 * num_values, 2, bandwidth)
    return [
        Row(
            f"check: two gloo ranks, {bandwidth / 1e9:.2f} GB/s, ViT-S fp32; predicted "
            f"{predicted:.2f} s a step, one rank {alone['step_s']:.2f} s",
            together["step_s"], "s a step", "the prediction", together["step_s"] / predicted,
            alone["step_s"], machine_name(),
        )
    ]  # fmt: skip


def measure(num_ranks: int, path: Path) -> dict[str, float]:
    """Start so many ranks of this module and return what the main one has written."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(num_ranks),
        "-m", "benchmarks.scaling", "--rank-of-check", str(path),
    ]  # fmt: skip
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return json.loads(path.read_text())


def be_a_rank(path: Path) -> None:
    """Time an all-reduce of a bucket and a step of training, all ranks together."""
    ranks = ranks_from_environment()
    device = start_ranks(ranks, 600, "cpu")
    bucket = torch.ones(BUCKET_VALUES)

    def reduce() -> None:
        if ranks.world_size > 1:
            torch.distributed.all_reduce(bucket)

    inputs = draw_inputs(CHECK, device)
    with our_way(CHECK, inputs, device, ranks=ranks) as step:
        step()
        found = {
            "bucket_s": min(clock(reduce, steps=2, device=device, wall=True) for _ in range(3)),
            "step_s": min(clock(step, steps=2, device=device, wall=True) for _ in range(3)),
        }
    if ranks.is_main:
        path.write_text(json.dumps(found))
    stop_ranks()


if __name__ == "__main__":
    main()
