"""Decoding at a fraction of the size, where a crop is larger than what the model sees.

    python -m benchmarks.dct_scaling [--sizes 512 1024 2048] [--json FILE]

libjpeg-turbo can leave out the higher half or three quarters of each block's frequencies, which
halves or quarters the picture on the way out. Measured against the same decoder at full size, with
the crops of pre-training and the resize of the data path: the time of one core, and how far the
pixels are from those of the full decode. The gate is what the data path promises, +-1 of 255. The
limit of a picture's time is its decode alone, at the smaller size.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray

from benchmarks.rows import Row, machine_name, report
from retfm_dist.data.augment import Augmentation, draw_boxes
from retfm_dist.data.resize import resize_bicubic
from retfm_dist.synth import write_cohort

IMAGE_SIZE = 224
AUGMENTATION = Augmentation((0.2, 1.0), (3 / 4, 4 / 3), 0.5)
CROPS = 4


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as scratch:
            write_cohort(Path(scratch), num_patients_per_site=8, size_px=size, seed=0)
            files = [path.read_bytes() for path in sorted(Path(scratch).rglob("*.jpg"))]
        rows += measure(size, files)
    report("Decoding at a fraction of the size, one core", rows, arguments.json)


def measure(size: int, files: list[bytes]) -> list[Row]:
    """Measure the photographs of one size."""
    full_s, scaled_s, decode_s, means, tails = [], [], [], [], []
    num_scaled = 0
    for data, boxes in zip(files, draw_crops(size, len(files)), strict=True):
        for box in boxes:
            factor = next((f for f in (4, 2) if box[2:].min() >= f * IMAGE_SIZE), 1)
            seconds, expected = timed(lambda d=data, b=box: crop(decode(d), b, 1))
            full_s.append(seconds)
            if factor == 1:
                scaled_s.append(seconds)
                continue
            num_scaled += 1
            seconds, found = timed(lambda d=data, b=box, f=factor: crop(decode(d, size // f), b, f))
            scaled_s.append(seconds)
            decode_s.append(timed(lambda d=data, f=factor: decode(d, size // f))[0])
            distance = np.abs(found.astype(np.int16) - expected)
            means.append(float(distance.mean()))
            tails.append(float(np.quantile(distance, 0.999)))
    share = num_scaled / len(full_s)
    if not num_scaled:
        return []
    full_ms, scaled_ms = (1e3 * statistics.fmean(times) for times in (full_s, scaled_s))
    limit_ms, machine = 1e3 * statistics.fmean(decode_s), machine_name()
    return [
        Row(
            f"{size} px, {share:.0%} of crops at a fraction",
            scaled_ms, "ms/image", "full decode", scaled_ms / full_ms, limit_ms, machine,
        ),
        Row(f"{size} px, mean distance", statistics.fmean(means), "of 255", "", 1.0, 1.0, machine),
        Row(
            f"{size} px, distance of one value in 1,000",
            statistics.fmean(tails), "of 255", "", 1.0, 1.0, machine,
        ),
    ]  # fmt: skip


def draw_crops(size: int, num_images: int) -> NDArray[np.int64]:
    """Return [num_images, CROPS, 4] top, left, height and width, px, as pre-training draws them."""
    sides = np.full(num_images * CROPS, size)
    boxes = draw_boxes(
        AUGMENTATION,
        seed=0,
        epoch=0,
        uids=np.arange(len(sides), dtype=np.uint64),
        heights=sides,
        widths=sides,
    )
    return boxes.reshape(num_images, CROPS, 4)


def decode(data: bytes, least: int = 0) -> NDArray[np.uint8]:
    """Decode a JPEG at the smallest size of libjpeg-turbo from `least` px on; 0 is whole."""
    return simplejpeg.decode_jpeg(data, min_height=least, min_width=least)


def crop(pixels: NDArray[np.uint8], box: NDArray[np.int64], factor: int) -> NDArray[np.uint8]:
    """Cut a box of the whole picture out of one that is smaller by a factor, and resize it."""
    top, left, height, width = box
    bottom, right = top + height, left + width
    top, left, bottom, right = (round(edge / factor) for edge in (top, left, bottom, right))
    part = np.ascontiguousarray(pixels[top:bottom, left:right])
    return resize_bicubic(torch.from_numpy(part), IMAGE_SIZE).numpy()


def timed(work: Callable[[], NDArray[np.uint8]]) -> tuple[float, NDArray[np.uint8]]:
    """Return the CPU time of some work, s, and its result."""
    begun_at = time.process_time()
    result = work()
    return time.process_time() - begun_at, result


if __name__ == "__main__":
    main()
