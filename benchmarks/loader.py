"""Images per second and core: our loader, the usual PyTorch one, and raw JPEG decoding.

    python -m benchmarks.loader [--sizes 256 512] [--json FILE]

All three work on the same JPEGs of a synthetic cohort, in the page cache. "Per core" divides by the
processor time of the whole process, threads included, so that other work on the machine does not
count. Runs are interleaved and the median of the repeats is reported. The peer is what MAE and
RETFound do: ImageFolder, PIL, RandomResizedCrop, flip, ToTensor, Normalize in a DataLoader;
it ends with float tensors, ours with uint8, because ours normalizes on the training device. The
limit is libjpeg-turbo decoding of the whole image and nothing else.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.io import decode_jpeg
from webdataset import WebDataset

from benchmarks.rows import Row, machine_name, report
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.config import load_config
from retfm_dist.data.loader import build_loader
from retfm_dist.ranks.world import Ranks
from retfm_dist.shard.build import build_shards
from retfm_dist.shard.packing.options import BuildOptions
from retfm_dist.synth import write_cohort

CONFIG = Path(__file__).parents[1] / "configs" / "demo_cpu.yaml"
BATCH_SIZE = 32
REPEATS = 5


def main() -> None:
    """Measure every size and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--patients-per-site", type=int, default=48)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        cohort = Path(scratch) / "cohort"
        table = write_cohort(
            cohort,
            num_patients_per_site=arguments.patients_per_site,
            size_px=max(arguments.sizes),
            seed=0,
        )
        for size in arguments.sizes:
            rows += measure_size(size, table, cohort, Path(scratch))
    report("Loading, 224 px crops, one core", rows, arguments.json)


def measure_size(size: int, table: Path, images: Path, scratch: Path) -> list[Row]:
    """Measure the three ways on JPEGs of one size, interleaved."""
    shards = scratch / f"shards{size}"
    options = BuildOptions(images_dir=images, salt=b"benchmark", size=size)
    build_shards(read_archive_table(table), options, shards)
    jpegs = extract_jpegs(shards, scratch / f"folder{size}" / "all")
    ways: dict[str, Callable[[], Iterator[int]]] = {
        "ours": lambda: load_ours(shards, num_images=len(jpegs)),
        "DataLoader + ImageFolder + PIL": lambda: load_with_pil(scratch / f"folder{size}"),
        "raw decode": lambda: decode_only(jpegs),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            rates[name].append(images_per_core_second(way()))
    ours, peer, limit = (statistics.median(values) for values in rates.values())
    spread = f"{min(rates['ours']):.0f}-{max(rates['ours']):.0f}"
    unit, peer_name, machine = "images/s/core", "DataLoader + ImageFolder + PIL", machine_name()
    return [
        Row(
            f"loader {size} px (range {spread})", ours, unit, peer_name, ours / peer, limit, machine
        ),
        Row(f"{peer_name} {size} px", peer, unit, "", 1.0, limit, machine),
    ]


def images_per_core_second(batches: Iterator[int]) -> float:
    """Return images per second of processor time, the first batch left out as warm-up."""
    next(batches)
    begun_at = time.process_time()
    num_images = sum(batches)
    return num_images / (time.process_time() - begun_at)


def extract_jpegs(shards: Path, folder: Path) -> list[Path]:
    """Write every JPEG of a shard set as a file of its own."""
    folder.mkdir(parents=True)
    tars = [str(path) for path in sorted(shards.glob("*.tar"))]
    paths = []
    for sample in WebDataset(tars, shardshuffle=False):
        path = folder / f"{sample['__key__']}.jpg"
        path.write_bytes(sample["jpg"])
        paths.append(path)
    return paths


def load_ours(shards: Path, *, num_images: int) -> Iterator[int]:
    """Yield the batch sizes of our loader over one epoch."""
    overrides = [
        f"data.shards={shards}",
        "data.decode_threads=1",
        "model.img_size=224",
        f"schedule.global_batch_size={BATCH_SIZE}",
        f"schedule.micro_batch_size={BATCH_SIZE}",
    ]
    config = load_config(CONFIG, overrides)
    loader = build_loader(config, ranks=Ranks(), device=torch.device("cpu"))
    try:
        for batch in loader.batches(0, num_images // BATCH_SIZE):
            yield len(batch.images)
    finally:
        loader.close()


def load_with_pil(folder: Path) -> Iterator[int]:
    """Yield the batch sizes of the usual PyTorch loader over one epoch, in this process."""
    steps = [
        transforms.RandomResizedCrop(
            224, scale=(0.2, 1.0), interpolation=transforms.InterpolationMode.BICUBIC
        ),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    images = ImageFolder(str(folder), transforms.Compose(steps))
    for batch, _ in DataLoader(images, batch_size=BATCH_SIZE, shuffle=True, drop_last=True):
        yield len(batch)


def decode_only(jpegs: list[Path]) -> Iterator[int]:
    """Yield 1 for every JPEG read and decoded."""
    for path in jpegs:
        decode_jpeg(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8))
        yield 1


if __name__ == "__main__":
    main()
