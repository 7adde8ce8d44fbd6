"""Host overhead: what engine and step cost beside forward, backward and AdamW.

    python -m benchmarks.host_overhead [--steps N] [--rounds N] [--stages 0 1 2 3] [--json FILE]

The model has the 398 tensors of a ViT-L at a width of 32, so that hardly anything is computed and
the host is what limits, as it does on a GPU that waits for its next kernel. The limit is a bare
loop of PyTorch: forward, backward, fused AdamW. The peer is DeepSpeed as its defaults set it, in
the same ZeRO stage. All ways take turns; the median over rounds of each round's ratio is reported,
in CPU time of the process, which other processes disturb less than they do the clock.
"""

import argparse
import statistics
from pathlib import Path

import torch

from benchmarks.rows import Row, machine_name, report
from benchmarks.training import (
    NARROW,
    Setting,
    default_way,
    draw_inputs,
    our_way,
    plain_way,
    take_turns,
)
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=15, help="steps of a way in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = start_ranks(Ranks(), timeout_s=600, device="cpu")
    rows = []
    for stage in arguments.stages:
        rows += measure(stage, device, steps=arguments.steps, rounds=arguments.rounds)
    stop_ranks()
    report("Host overhead on 398 tensors, one rank", rows, arguments.json)


def measure(stage: int, device: torch.device, *, steps: int, rounds: int) -> list[Row]:
    """Measure a ZeRO stage, interleaved with its peer and its limit."""
    setting = Setting(NARROW, batch_size=2, zero_stage=stage)
    inputs = draw_inputs(setting, device)
    with our_way(setting, inputs, device) as ours:
        ways = {
            "bare": plain_way(setting, inputs, device),
            "ours": ours,
            "deepspeed": default_way(setting, inputs),
        }
        times = take_turns(ways, steps=steps, rounds=rounds, device=device)
    return rows_of(stage, times)


def rows_of(stage: int, times: dict[str, list[float]]) -> list[Row]:
    """Return the rows of a stage, steps per second."""

    def ratio(name: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(times[other], times[name], strict=True))

    rates = {name: 1 / statistics.median(values) for name, values in times.items()}
    machine = machine_name()
    return [
        Row(
            f"stage {stage}: {1 / ratio('ours', 'bare'):.2f}x the time of the bare loop",
            rates["ours"], "steps/s", "DeepSpeed's defaults",
            ratio("ours", "deepspeed"), rates["bare"], machine,
        ),
        Row(
            f"stage {stage}: DeepSpeed's defaults, {1 / ratio('deepspeed', 'bare'):.2f}x",
            rates["deepspeed"], "steps/s", "", 1.0, rates["bare"], machine,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
