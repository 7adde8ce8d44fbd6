"""How long a device of fixed rate waits for images, over epoch boundaries too.

    python -m benchmarks.stall [--json FILE]

The device takes 80 % of what the loader delivers from the same storage when it is asked for all it
has. As in training, the host waits for no step: it asks for the next batch while the device
computes and is one step ahead at most. The stall is what the device loses against a run on one
batch that lies ready: 1 - t(resident batch) / t(loader). Measured on a directory, and on an S3 API
on loopback with a cold cache, in lanes. The limit is 0, the aim below 1 %.

Source: Mohan et al. 2021, "Analyzing and mitigating data stalls in DNN training", VLDB, section 3.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import torch

from benchmarks.loader import BATCH_SIZE, CONFIG, pack
from benchmarks.rows import Row, machine_name, report
from retfm_dist.config import load_config
from retfm_dist.data.loader import Loader, build_loader
from retfm_dist.ranks.world import Ranks
from retfm_dist.synth import write_cohort

SIZE = 256
SHARE_OF_CAPACITY = 0.8
STORE = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}


def main() -> None:
    """Measure a directory and an object store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients-per-site", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table = write_cohort(
            folder / "cohort",
            num_patients_per_site=arguments.patients_per_site,
            size_px=SIZE,
            seed=0,
        )
        shards = pack(SIZE, table, folder / "cohort", folder, shard_mb=1)
        with open_loader(shards) as loader:
            capacity = measure_capacity(loader, 150)
            rows += measure_stall("directory", loader, capacity, arguments.steps)
        with serve(shards) as address:
            lanes = ("data.lanes=8", "data.window=64")
            with open_loader(address, *lanes, f"data.cache_dir={folder / 'first'}") as loader:
                capacity = measure_capacity(loader, loader.steps_per_epoch)
            with open_loader(address, *lanes, f"data.cache_dir={folder / 'cold'}") as loader:
                rows += measure_stall("S3, cold cache", loader, capacity, arguments.steps)
    report("Waiting for images", rows, arguments.json)


@contextlib.contextmanager
def open_loader(shards: Path | str, *overrides: str) -> Iterator[Loader]:
    """Open the loader of one rank on the CPU, and close it at the end of the block."""
    config = load_config(
        CONFIG,
        [
            f"data.shards={shards}",
            "data.decode_threads=2",
            "model.img_size=224",
            f"schedule.global_batch_size={BATCH_SIZE}",
            f"schedule.micro_batch_size={BATCH_SIZE}",
            *overrides,
        ],
    )
    loader = build_loader(config, ranks=Ranks(), device=torch.device("cpu"))
    with contextlib.closing(loader):
        yield loader


def measure_capacity(loader: Loader, num_steps: int) -> float:
    """Return images per second that the loader delivers when nothing else is done.

    From an object store over the first epoch, in which every tar is fetched.
    """
    batches = loader.batches(0, num_steps)
    next(batches)
    begun_at, num_images = time.perf_counter(), 0
    for batch in batches:
        num_images += len(batch.images)
    return num_images / (time.perf_counter() - begun_at)


def measure_stall(name: str, loader: Loader, capacity: float, num_steps: int) -> list[Row]:
    """Compute on batches at a fixed rate, from the loader and from memory."""
    step_s = BATCH_SIZE / (SHARE_OF_CAPACITY * capacity)
    batches = loader.batches(0, num_steps + 1)
    first = next(batches)  # what a start takes is no stall
    waits: list[float] = []
    real_s = compute((batch.images for batch in batches), step_s, waits)
    resident_s = compute((first.images for _ in range(num_steps)), step_s, [])
    stall = 100 * (1 - resident_s / real_s)
    machine = machine_name()
    worst_ms, epochs = 1e3 * max(waits), num_steps / loader.steps_per_epoch
    label = f"{name}, {epochs:.1f} epochs of {num_steps} steps at {BATCH_SIZE / step_s:.0f}/s"
    return [
        Row(f"stall: {label}", stall, "%", "", 1.0, 0.0, machine),
        Row(f"asking for batches: {name}", 100 * sum(waits) / real_s, "%", "", 1.0, 0.0, machine),
        Row(f"longest wait: {name}", worst_ms, "ms", "", 1.0, 1e3 * step_s, machine),
    ]


def compute(images: Iterator[torch.Tensor], step_s: float, waits: list[float]) -> float:
    """Give every batch to a device that takes the same time for each; return the seconds in all.

    Args:
        images: Batches.
        step_s: Time of a step.
        waits: Receives the time that the host waited for each batch.
    """
    begun_at = free_at = time.perf_counter()
    while True:
        asked_at = time.perf_counter()
        if next(images, None) is None:
            return free_at - begun_at
        got_at = time.perf_counter()
        waits.append(got_at - asked_at)
        begins_at = max(free_at, got_at)
        free_at = begins_at + step_s
        time.sleep(max(0.0, begins_at - got_at))  # the host is one step ahead at most


@contextlib.contextmanager
def serve(shards: Path) -> Iterator[str]:
    """Put a shard set behind an S3 API on loopback, in a process of its own; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [Path(sys.executable).with_name("moto_server"), "-p", str(port)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        os.environ.update(STORE | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
        client = boto3.client("s3")
        client.create_bucket(Bucket="eyes")
        for path in shards.iterdir():
            client.upload_file(str(path), "eyes", f"set/{path.name}")
        yield "s3://eyes/set"
    finally:
        server.kill()
        server.wait()


def wait_for(port: int) -> None:
    """Wait until something listens at a port of this host."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.1)
    raise TimeoutError("the S3 server has not started")


if __name__ == "__main__":
    main()
