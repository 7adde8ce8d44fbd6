"""Opening a set of many tars, finding the samples of a batch in it, and its first batch.

    python -m benchmarks.set_scale [--tars 100463] [--json FILE]

The tars are links to a few real ones of 9 images each, so that no storage is waited for: 100,463 of
them hold 904,167 images, as many as a cohort of the paper (904,170). We, the peer and the first
batch have a process each, with 1,024 open files. The peer does without `set.index`: it parses
manifest.json, and reads the `.samples` index of each tar that a batch touches. The limits are
those that the loader was built to: 1 s and 60 MB to open, 20 ms to find a batch of 2,048, 10 s from
the start of a process to its first batch.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.loader import CONFIG, pack
from benchmarks.rows import Row, machine_name, report
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.manifest import ShardEntry, read_manifest, write_manifest
from retfm_dist.shard.set_index import write_set_index
from retfm_dist.synth import write_cohort

IMAGES_PER_TAR = 9
GLOBAL_BATCH_SIZE = 2_048
OPEN_FILES = 1_024
LIMITS = {
    "open the set": (1_000.0, "ms"),
    "memory of the open set": (60.0, "MB"),
    "find a batch": (20.0, "ms"),
    "first batch after the start": (10.0, "s"),
}
_LINKS_PER_FILE = 50_000  # file systems bound the links to a file: ext4 at 65,000
_DRAWS = 21


def main() -> None:
    """Lay the set out, measure in processes of their own, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tars", type=int, default=100_463)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--what", choices=("ours", "peer", "first"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure = {"ours": measure_ours, "peer": measure_peer, "first": measure_first_batch}
        print(json.dumps(measure[arguments.what](arguments.measure)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        shards = lay_out(Path(scratch), arguments.tars)
        ours, peer = in_a_process(shards, "ours"), in_a_process(shards, "peer")
        begun_at = time.monotonic()
        in_a_process(shards, "first")
        ours["first batch after the start"] = time.monotonic() - begun_at
    machine, label = machine_name(), f"{arguments.tars:,} tars"
    rows = []
    for name, (limit, unit) in LIMITS.items():
        other = "without set.index" if name in peer else ""
        ratio = ours[name] / peer[name] if name in peer else 1.0
        rows.append(Row(f"{name}, {label}", ours[name], unit, other, ratio, limit, machine))
    report(f"A set of {arguments.tars * IMAGES_PER_TAR:,} images", rows, arguments.json)


def lay_out(scratch: Path, num_tars: int) -> Path:
    """Write a set whose tars are links to a packed one; return its directory."""
    table = write_cohort(scratch / "cohort", num_patients_per_site=3, size_px=256, seed=0)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[: 1 + IMAGES_PER_TAR]))
    packed = pack(256, table, table.parent, scratch)
    (whole,) = read_manifest(packed).shards
    shards = scratch / "many"
    shards.mkdir()
    entries = []
    for number in range(num_tars):
        entry = ShardEntry(f"{number:06d}.tar", whole.num_bytes, whole.sha256, whole.num_samples)
        copy = scratch / f"copy_{number // _LINKS_PER_FILE}"
        for name, source in ((entry.name, whole.name), (entry.index_name, whole.index_name)):
            if not copy.with_suffix(Path(source).suffix).exists():
                shutil.copy(packed / source, copy.with_suffix(Path(source).suffix))
            os.link(copy.with_suffix(Path(source).suffix), shards / name)
        entries.append(entry)
    write_manifest(shards, shards=entries, files=[], build={})
    write_set_index(shards)
    return shards


def in_a_process(shards: Path, what: str) -> dict[str, float]:
    """Run one of the measurements below with few open files."""
    command = [sys.executable, "-m", "benchmarks.set_scale", "--measure", shards, "--what", what]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES)),
    )
    return json.loads(done.stdout)


def measure_ours(shards: Path) -> dict[str, float]:
    """Open the set through its index, and find batches drawn from all of it."""
    from retfm_dist.data.reader import ShardReader
    from retfm_dist.data.shard_set import open_shard_set

    memory, begun_at = memory_mb(), time.perf_counter()
    shard_set = open_shard_set(shards)
    opened_s, grown = time.perf_counter() - begun_at, memory_mb() - memory
    reader = ShardReader([shard_set])
    seconds = []
    for positions in draw_batches(reader.num_samples):
        begun_at = time.perf_counter()
        found = reader.locate(positions)
        seconds.append(time.perf_counter() - begun_at)
        assert found.is_sound.all(), "a sample was not found"
    reader.close()
    return _figures(opened_s, grown, seconds)


def measure_peer(shards: Path) -> dict[str, float]:
    """Parse the manifest, and read the index of every tar that a batch touches."""
    memory, begun_at = memory_mb(), time.perf_counter()
    manifest = read_manifest(shards)
    starts = np.cumsum([0, *(shard.num_samples for shard in manifest.shards)])
    opened_s, grown = time.perf_counter() - begun_at, memory_mb() - memory
    seconds = []
    for positions in draw_batches(manifest.num_samples):
        begun_at = time.perf_counter()
        for number in np.unique(np.searchsorted(starts, positions, side="right") - 1).tolist():
            read_sample_index(shards / manifest.shards[number].index_name)
        seconds.append(time.perf_counter() - begun_at)
    return _figures(opened_s, grown, seconds)


def measure_first_batch(shards: Path) -> dict[str, float]:
    """Make the first batch of a run, imports and all; the caller counts the seconds."""
    import torch

    from retfm_dist.config import load_config
    from retfm_dist.data.loader import build_loader
    from retfm_dist.ranks.world import Ranks

    overrides = [
        f"data.shards={shards}",
        f"schedule.global_batch_size={GLOBAL_BATCH_SIZE}",
        "schedule.micro_batch_size=64",
    ]
    loader = build_loader(load_config(CONFIG, overrides), ranks=Ranks(), device=torch.device("cpu"))
    next(iter(loader.batches(0, 1)))
    loader.close()
    return {}


def draw_batches(num_samples: int) -> list[np.ndarray]:
    """Return the positions of some global batches."""
    rng = np.random.default_rng(0)
    return [
        rng.choice(num_samples, GLOBAL_BATCH_SIZE, replace=False).astype(np.int64)
        for _ in range(_DRAWS)
    ]


def memory_mb() -> float:
    """Return the largest memory that this process has taken, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _figures(opened_s: float, grown_mb: float, seconds: list[float]) -> dict[str, float]:
    figures = (1e3 * opened_s, grown_mb, 1e3 * statistics.median(seconds))
    return dict(zip(list(LIMITS)[:3], figures, strict=True))


if __name__ == "__main__":
    main()
