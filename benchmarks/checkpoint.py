"""Checkpoints: how long a step waits, and how fast they are on disk, beside torch.save.

    python -m benchmarks.checkpoint [--size B] [--directory DIR] [--json FILE]

The state is that of a masked autoencoder of the given size: fp32 weights and both Adam moments, on
one rank. Ours copies it to host memory, which a step waits for, and then hashes and writes it in a
thread; the peer is `torch.save` and fsync in the step, without a hash. The limits are a plain copy
of the same bytes in memory, and a plain write and fsync of them. Runs are interleaved in
turning order, and the median of the repeats is reported.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.rows import Row, machine_name, report
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.sizes import MAE_SIZES
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.checkpoint.folder import Retention
from retfm_dist.train.checkpoint.layout import KINDS, Stretch
from retfm_dist.train.checkpoint.saver import Saver
from retfm_dist.train.run_dir import RunDir

State = dict[str, dict[str, torch.Tensor]]

REPEATS = 6
MB = 1e6


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=MAE_SIZES, default="B")
    parser.add_argument("--directory", type=Path, help="disk to write to; default: a temporary one")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as scratch:
        rows = measure(state_of(arguments.size), Path(scratch))
    report(f"Checkpoint of a ViT-{arguments.size}, one rank", rows, arguments.json)


def state_of(size: str) -> State:
    """Return weights and moments of random values, as training leaves them."""
    with torch.device("meta"):
        model = MaskedAutoencoder(MAE_SIZES[size])
    return {kind: {n: torch.rand(p.shape) for n, p in model.named_parameters()} for kind in KINDS}


def measure(state: State, scratch: Path) -> list[Row]:
    """Measure every way, interleaved."""
    tensors = [tensor for part in state.values() for tensor in part.values()]
    num_values = sum(tensor.numel() for tensor in tensors)
    buffer = torch.zeros(num_values)
    owned = [
        (Stretch(kind, name, 0), tensor.view(-1))
        for kind, part in state.items()
        for name, tensor in part.items()
    ]
    saver = Saver(
        RunDir(scratch),
        num_values=num_values,
        retention=Retention(keep_last=1, keep_every=0),
        ranks=Ranks(),
        device=torch.device("cpu"),
    )
    steps = iter(range(1, 1_000))

    def begin() -> None:
        step = next(steps)
        saver.begin(step, owned, {"step": step, "shapes": {}})

    times: dict[str, list[float]] = {}

    def clock(name: str, work: Callable[[], object]) -> float:
        begun_at = time.perf_counter()
        work()
        took_s = time.perf_counter() - begun_at
        times.setdefault(name, []).append(took_s)
        return took_s

    def ours() -> None:
        stall_s = clock("ours, stall", begin)
        times.setdefault("ours, all", []).append(stall_s + clock("ours, rest", saver.finish))

    def with_torch() -> None:
        clock("torch.save", lambda: save_with_torch(state, scratch / "peer"))

    def plainly() -> None:
        clock("write", lambda: write_plainly(buffer, scratch / "plain"))

    whole = torch.cat([tensor.view(-1) for tensor in tensors])
    ways = [ours, with_torch, plainly]
    for _ in range(REPEATS):
        clock("copy", lambda: buffer.copy_(whole))
        for way in ways:
            way()
        ways = ways[1:] + ways[:1]  # a disk is slower after much has been written to it
    saver.close()
    return rows_of(times, num_bytes=4 * num_values)


def rows_of(times: dict[str, list[float]], *, num_bytes: int) -> list[Row]:
    """Return the rows: rates of the whole state, so that a higher one is better."""
    rates = {name: num_bytes / MB / statistics.median(values) for name, values in times.items()}
    peer, machine = rates["torch.save"], machine_name()
    stall = rates["ours, stall"]
    spread = f"range {min(times['ours, stall']):.2f}-{max(times['ours, stall']):.2f} s"
    return [
        Row(
            f"step waits {peer / stall:.0%} of torch.save's time ({spread})",
            stall, "MB/s", "torch.save + fsync", stall / peer, rates["copy"], machine,
        ),
        Row(
            "written, hashed, on disk", rates["ours, all"], "MB/s", "torch.save + fsync",
            rates["ours, all"] / peer, rates["write"], machine,
        ),
        Row("torch.save + fsync, no hash", peer, "MB/s", "", 1.0, rates["write"], machine),
    ]  # fmt: skip


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new name that then takes the place of `path`: every way keeps the file before."""
    new = path.with_name(path.name + ".new")
    yield new
    new.replace(path)


def save_with_torch(state: State, path: Path) -> None:
    """Save as most training code does, and wait for the disk."""
    with replacing(path) as new, new.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def write_plainly(values: torch.Tensor, path: Path) -> None:
    """Write the bytes and nothing else, and wait for the disk."""
    with replacing(path) as new, new.open("wb", buffering=0) as file:
        data = memoryview(values.numpy()).cast("B")
        while data.nbytes:
            data = data[file.write(data[: 1 << 24]) :]
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
