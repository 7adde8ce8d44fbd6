"""Training jobs of two ranks as their users start them, and the processes that make them up."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from tests.fakes.processes import CONFIG, LIMIT_S, ROOT, environment

SCRIPT = ROOT / "launch" / "pretrain.py"


def pack_discs(folder: Path) -> Path:
    """Pack sixteen drawn discs by the real command and return the shard set."""
    lines = ["image_path,patient_id"]
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    for number in range(16):
        values = np.random.default_rng(number).integers(90, 200, (6, 6, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(values).resize((96, 96), Image.Resampling.BICUBIC))
        inside = (rows**2 + columns**2 < 0.9)[..., None]
        Image.fromarray((picture * inside).astype(np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,p{number}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    subprocess.run(
        [
            sys.executable, "-m", "retfm_dist.shard", "build", "--table",
            folder / "manifest.csv", "--images", folder, "--out", folder / "set",
        ],
        env=environment(), check=True, capture_output=True, timeout=LIMIT_S,
    )  # fmt: skip
    return folder / "set"


def arguments(shards: Path, run_dir: Path, *changes: str) -> list:
    """Return the words of a training command after the script."""
    overrides = (f"data.shards={shards}", f"run.dir={run_dir}", *changes)
    return ["--config", CONFIG, *(word for item in overrides for word in ("--set", item))]


def deepspeed_command(port: int, *words) -> list:
    """Return the command that trains on two ranks under DeepSpeed's launcher."""
    runner = [Path(sys.executable).with_name("deepspeed"), "--num_accelerators", "2"]
    return [*runner, "--master_port", str(port), SCRIPT, *words]


def torchrun_command(port: int, *words, max_restarts: int = 0, script: Path = SCRIPT) -> list:
    """Return the command that trains on two ranks under torchrun."""
    runner = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    runner += ["--max-restarts", str(max_restarts), "--master-port", str(port)]
    return [*runner, script, *words]


def members(process: subprocess.Popen) -> dict[str, psutil.Process | None]:
    """Return runner, launcher and ranks of a job; torchrun is runner and launcher in one."""
    family = psutil.Process(process.pid).children(recursive=True)
    ranks = [p for p in family if str(SCRIPT) in p.cmdline()[:4]]
    launcher = next((p for p in family if "deepspeed.launcher.launch" in p.cmdline()), None)
    by_rank = {p.environ()["RANK"]: p for p in ranks}
    return {"runner": psutil.Process(process.pid), "launcher": launcher, **by_rank}


def metrics_of(run_dir: Path) -> list[tuple]:
    """Return step, loss and learning rate of every line of metrics.jsonl."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [
        tuple(json.loads(line)[name] for name in ("step", "train/loss", "train/lr"))
        for line in lines
    ]
