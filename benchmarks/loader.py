"""Images per second and core: our loader, four others, and raw JPEG decoding.

    python -m benchmarks.loader [--sizes 256 512 1024] [--json FILE]

All work on the same JPEGs of a synthetic cohort, in the page cache. "Per core" divides by the
processor time of the whole process, threads included, so that other work on the machine does not
count. Runs are interleaved and the median of the repeats is reported, with a ratio to each peer.
The peers end with float tensors, ours with uint8, because ours normalizes on the training device.
The limit is libjpeg-turbo's decoding of whole images and nothing else. MosaicML Streaming takes
part where it can be imported (pip install --target DIR --no-deps mosaicml-streaming).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import simplejpeg
import torch
from webdataset import WebDataset

from benchmarks import loader_peers as peers
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
OURS, LIMIT = "ours", "raw decode"
UNIT = "images/s/core"

Ways = dict[str, Callable[[], Iterator[int]]]


def main() -> None:
    """Measure every size and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--patients-per-site", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=5)
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
            ways = prepare_ways(size, table, cohort, Path(scratch))
            rows += measure_size(size, ways, repeats=arguments.repeats)
    report("Loading, 224 px crops, one core", rows, arguments.json)
    if not peers.has_streaming():
        print("MosaicML Streaming is not installed and was left out; see --help of this module.")


def prepare_ways(size: int, table: Path, images: Path, scratch: Path) -> Ways:
    """Pack JPEGs of one size for everybody, and return how each loads them."""
    shards = pack(size, table, images, scratch)
    folder = scratch / f"folder{size}"
    jpegs = extract_jpegs(shards, folder / "all")
    ways: Ways = {
        OURS: lambda: load_ours(shards, num_images=len(jpegs)),
        peers.PIL_NAME: lambda: peers.load_with_pil(folder, BATCH_SIZE),
        "webdataset library": lambda: peers.load_with_webdataset(shards, BATCH_SIZE),
        "torchvision decoder": lambda: peers.load_with_torchvision(jpegs, BATCH_SIZE),
    }
    if peers.has_streaming():
        local = scratch / f"streaming{size}"
        peers.write_streaming(jpegs, local)
        ways["MosaicML Streaming"] = lambda: peers.load_with_streaming(local, BATCH_SIZE)
    ways[LIMIT] = lambda: decode_only(jpegs)
    return ways


def pack(size: int, table: Path, images: Path, scratch: Path, *, shard_mb: float = 256) -> Path:
    """Pack the cohort at one size."""
    shards = scratch / f"shards{size}"
    options = BuildOptions(images_dir=images, salt=b"benchmark", size=size, shard_mb=shard_mb)
    build_shards(read_archive_table(table), options, shards)
    return shards


def measure_size(size: int, ways: Ways, *, repeats: int) -> list[Row]:
    """Measure all ways, interleaved; one row for our ratio to each peer, and one per peer."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            rates[name].append(images_per_core_second(way()))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ours, limit, machine = medians[OURS], medians[LIMIT], machine_name()
    rows = []
    for name, value in medians.items():
        if name in (OURS, LIMIT):
            continue
        # Pairs of the same round: what slows the machine down slows both.
        ratio = statistics.median(
            mine / theirs for mine, theirs in zip(rates[OURS], rates[name], strict=True)
        )
        rows.append(Row(f"loader {size} px", ours, UNIT, name, ratio, limit, machine))
        rows.append(Row(f"{name} {size} px", value, UNIT, "", 1.0, limit, machine))
    return rows


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


def decode_only(jpegs: list[Path]) -> Iterator[int]:
    """Yield 1 for every JPEG read and decoded."""
    for path in jpegs:
        simplejpeg.decode_jpeg(path.read_bytes(), fastdct=False, fastupsample=False)
        yield 1


if __name__ == "__main__":
    main()
