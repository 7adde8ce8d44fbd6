"""Pre-training as users start it, loader and all: steady state and stall.

    python -m benchmarks.pretrain [--config vitl_moorfields.yaml] [--set FIELD=VALUE ...]
                                  [--size-px 512] [--images 400] [--steps 60] [--keep DIR]

`launch/pretrain.py` trains on a synthetic shard set that is packed first. What counts are the lines
of metrics.jsonl after the first third of the steps. The peer is the same model on one batch that
lies ready (as in `benchmarks.train_step`), so 1 - ratio is what the data path and the loop cost;
the limit is what a large matrix product reaches.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.loader import pack
from benchmarks.rows import Row, machine_of, report
from benchmarks.train_step import DTYPES, utilization
from benchmarks.training import Setting, clock, draw_inputs, our_way
from retfm_dist.config import PretrainConfig, find_config, load_config
from retfm_dist.model.flops import train_flops_per_image
from retfm_dist.ranks.world import Ranks
from retfm_dist.synth import write_cohort
from retfm_dist.train.engine.process_group import start_ranks, stop_ranks
from retfm_dist.train.mfu import measured_peak
from retfm_dist.train.run_dir import RunDir

LAUNCHER = Path(__file__).parents[1] / "launch" / "pretrain.py"
IMAGES_PER_PATIENT = 2
NUM_SITES = 2


def main() -> None:
    """Train, measure the peer, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="vitl_moorfields.yaml")
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", metavar="FIELD=VALUE")
    parser.add_argument("--size-px", type=int, default=512, help="side of the packed images")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="run directory, to look at its profile later")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        overrides = [
            f"data.shards={make_shards(arguments.size_px, arguments.images, folder)}",
            f"run.dir={arguments.keep or folder / 'run'}",
            "run.init_from=null",
            f"schedule.duration={arguments.steps} steps",
            "schedule.warmup=0 steps",
            f"checkpoint.every={arguments.steps} steps",
            "log.every=1 steps",
            "log.reconstructions_every=0 steps",
            "tracking.mlflow=false",
            *arguments.overrides,
        ]
        config = load_config(find_config(arguments.config), overrides)
        lines = train(arguments.config, overrides, RunDir(config.run.dir))
        rows = rows_of(config, lines[len(lines) // 3 :], peer=resident_rate(config))
    report(f"Pre-training, {arguments.config}, one rank", rows, arguments.json)


def make_shards(size_px: int, num_images: int, folder: Path) -> Path:
    """Pack a synthetic cohort of about so many images; return the shard set."""
    num_patients = max(2, num_images // (IMAGES_PER_PATIENT * NUM_SITES))
    table = write_cohort(
        folder / "cohort", num_patients_per_site=num_patients, size_px=size_px, seed=0
    )
    return pack(size_px, table, folder / "cohort", folder, shard_mb=64)


def train(config: str, overrides: list[str], run_dir: RunDir) -> list[dict[str, Any]]:
    """Start the launcher in a process of its own and return the lines of its metrics."""
    command = [sys.executable, str(LAUNCHER), "--config", config]
    for override in overrides:
        command += ["--set", override]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in run_dir.metrics_path.read_text().splitlines()]


def resident_rate(config: PretrainConfig) -> float:
    """Return images per second of the same model on one batch that lies ready."""
    device = start_ranks(Ranks(), config.run.collective_timeout_s, config.engine.device)
    setting = Setting(
        config.model,
        batch_size=config.schedule.micro_batch_size,
        precision=config.engine.precision,
        zero_stage=config.engine.zero_stage,
        compiled=config.engine.compiles_on(device.type),
        attention=config.engine.attention,
    )
    inputs = draw_inputs(setting, device)
    with our_way(setting, inputs, device) as step:
        clock(step, steps=5, device=device)
        seconds = statistics.median(clock(step, steps=5, device=device) for _ in range(3))
    stop_ranks()
    return setting.batch_size / seconds


def rows_of(config: PretrainConfig, lines: list[dict[str, Any]], *, peer: float) -> list[Row]:
    """Return rate, waiting and memory of the lines given."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = machine_of(device)
    num_flops = train_flops_per_image(config.model)
    rate = statistics.median(line["perf/images_per_s"] for line in lines)
    wait = 100 * statistics.median(line["perf/data_wait_ratio"] for line in lines)
    limit = measured_peak(device, DTYPES[config.engine.precision]) / num_flops
    share = utilization(rate, num_flops, machine)
    if share:
        share += f"; 800 epochs of 904,170 on 8 of them: {904_170 * 800 / (8 * rate) / 3600:.1f} h"
    return [
        Row(
            f"loader on{share}", rate, "images/s", "one batch that lies ready", rate / peer,
            limit, machine,
        ),
        Row(
            f"one batch that lies ready{utilization(peer, num_flops, machine)}", peer, "images/s",
            "", 1.0, limit, machine,
        ),
        Row("asking for batches", wait, "% of time", "", 1.0, 0.0, machine),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
