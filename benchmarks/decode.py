"""The data path alone on this device: images per second, and whether the same batches come twice.

    python -m benchmarks.decode [--sizes 256 512 1024] [--threads 14] [--batches 50] [--json FILE]

One rank's loader on a synthetic shard set, on the GPU where there is one: by its JPEG engines, if
it has some, and by CUDA alone. The limit is what the model needs, 3,500 images/s on an H100; the
peer is the same loader on the CPU of this machine with as many threads. The batches are read twice
and compared bit by bit.
"""

import argparse
import contextlib
import hashlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.loader import CONFIG
from benchmarks.pretrain import make_shards
from benchmarks.rows import Row, machine_of, report
from retfm_dist.config import load_config
from retfm_dist.data.loader import Loader, build_loader
from retfm_dist.ranks.world import Ranks

NEEDED = 3500.0


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--threads", type=int, default=14)
    parser.add_argument("--batch", type=int, default=224)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    machine = machine_of(device)
    rows: list[Row] = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            shards = make_shards(size, arguments.images, Path(scratch))
            options = (shards, arguments.threads, arguments.batch, arguments.batches)
            peer = deliver(torch.device("cpu"), *options).rate
            for engines in (True, False) if device.type == "cuda" else (False,):
                first = deliver(device, *options, jpeg_engines=engines)
                again = deliver(device, *options, jpeg_engines=engines)
                if engines and "engines" not in first.decoder:
                    continue  # there are none, and CUDA's turn comes next
                same = first.digest == again.digest
                verdict = "the same bits twice" if same else "OTHER BITS THE SECOND TIME"
                rows.append(
                    Row(
                        f"{size} px, {first.decoder}, {arguments.threads} threads, {verdict}",
                        first.rate, "images/s", "the CPU", first.rate / peer, NEEDED, machine,
                    )
                )  # fmt: skip
    report("Reading, decoding and cropping alone", rows, arguments.json)


@dataclass(frozen=True)
class Delivery:
    """What a loader delivered.

    Attributes:
        rate: Images per second after the first batches.
        digest: Of all pixels.
        decoder: What made them.
    """

    rate: float
    digest: str
    decoder: str


def deliver(
    device: torch.device,
    shards: Path,
    threads: int,
    batch_size: int,
    num_batches: int,
    *,
    jpeg_engines: bool = True,
) -> Delivery:
    """Read batches as fast as they come."""
    digest, num_images, begun_at = hashlib.sha256(), 0, 0.0
    with open_loader(device, shards, threads, batch_size, jpeg_engines) as loader:
        for index, batch in enumerate(loader.batches(0, num_batches + 5)):
            if index == 5:
                _wait_for(device)
                begun_at = time.perf_counter()
            num_images += len(batch.images) * (index >= 5)
            # A checksum per image that costs the device nothing beside decoding.
            digest.update(
                batch.images.sum(dim=(1, 2, 3), dtype=torch.int64).cpu().numpy().tobytes()
            )
        rate = num_images / (time.perf_counter() - begun_at)
        return Delivery(rate, digest.hexdigest(), loader.state()["decoder"])


@contextlib.contextmanager
def open_loader(
    device: torch.device, shards: Path, threads: int, batch_size: int, jpeg_engines: bool
) -> Iterator[Loader]:
    """Open the loader of one rank, and close it at the end of the block."""
    overrides = [
        f"data.shards={shards}",
        f"data.decode_threads={threads}",
        f"data.jpeg_engines={str(jpeg_engines).lower()}",
        "model.img_size=224",
        f"schedule.global_batch_size={batch_size}",
        f"schedule.micro_batch_size={batch_size}",
    ]
    loader = build_loader(load_config(CONFIG, overrides), ranks=Ranks(), device=device)
    with contextlib.closing(loader):
        yield loader


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
