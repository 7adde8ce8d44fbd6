"""Small shard sets, written with the package's own index and manifest writers."""

import contextlib
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retfm_dist.config import PretrainConfig, load_config
from retfm_dist.durable import sha256_file
from retfm_dist.shard.index import SAMPLE_DTYPE, write_sample_index
from retfm_dist.shard.manifest import FileEntry, ShardEntry, write_manifest

CONFIG_PATH = Path(__file__).parents[1] / "fakes" / "test_cpu.yaml"


def draw_jpeg(number: int, *, height: int, width: int) -> bytes:
    """Encode a smooth random picture with some detail, as photographs have."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    fine = generator.normal(0, 6, (height, width, 1))
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    pixels = np.clip(smooth + fine, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling="4:2:0")
    return buffer.getvalue()


def write_tar(path: Path, jpegs: list[bytes]) -> np.ndarray:
    """Write a USTAR of JPEGs and return their index records."""
    records = np.zeros(len(jpegs), dtype=SAMPLE_DTYPE)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row, jpeg in enumerate(jpegs):
            member = tarfile.TarInfo(f"{path.stem}-{row:04d}.jpg")
            member.size = len(jpeg)
            tar.addfile(member, io.BytesIO(jpeg))
            offset = tar.offset - -(-len(jpeg) // 512) * 512
            width, height = Image.open(io.BytesIO(jpeg)).size
            uid = int.from_bytes(hashlib.sha256(jpeg).digest()[:8], "big")
            records[row] = (offset, len(jpeg), zlib.crc32(jpeg), height, width, uid, 0)
    return records


def pack(
    shard_dir: Path, shards: list[list[bytes]], *, composition: dict[str, Any] | None = None
) -> Path:
    """Write a shard set of the given tars of JPEGs."""
    shard_dir.mkdir()
    entries, files = [], []
    for number, jpegs in enumerate(shards):
        tar_path = shard_dir / f"{number:06d}.tar"
        index_path = tar_path.with_suffix(".samples")
        write_sample_index(index_path, write_tar(tar_path, jpegs))
        entries.append(
            ShardEntry(tar_path.name, tar_path.stat().st_size, sha256_file(tar_path), len(jpegs))
        )
        files.append(FileEntry(index_path.name, index_path.stat().st_size, sha256_file(index_path)))
    if composition is not None:
        path = shard_dir / "cohort.json"
        path.write_text(json.dumps(composition))
        files.append(FileEntry(path.name, path.stat().st_size, sha256_file(path)))
    write_manifest(shard_dir, shards=entries, files=files, build={})
    return shard_dir


@pytest.fixture
def pack_shards() -> Callable[..., Path]:
    return pack


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """37 pictures of different sizes and shapes."""
    return [
        draw_jpeg(number, height=60 + 7 * number % 50, width=50 + 11 * number % 70)
        for number in range(37)
    ]


@pytest.fixture
def shard_dir(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """The 37 pictures in three tars of 10, 15 and 12."""
    return pack(tmp_path / "shards", [jpegs[:10], jpegs[10:25], jpegs[25:]])


@pytest.fixture
def make_config(tmp_path: Path, shard_dir: Path) -> Callable[..., PretrainConfig]:
    """The test config on the pictures: global batch 8, 32 px; arguments are overrides."""

    def make(*overrides: str) -> PretrainConfig:
        here = [
            f"run.dir={tmp_path / 'run'}",
            "run.seed=7",
            f"data.shards={shard_dir}",
            "model.img_size=32",
            "schedule.global_batch_size=8",
            "schedule.micro_batch_size=2",
        ]
        return load_config(CONFIG_PATH, [*here, *overrides])

    return make


@pytest.fixture
def open_files() -> Callable[[], set[str]]:
    """Lists what the descriptors of this process point at, tars and logs only."""

    def listing() -> set[str]:
        targets = set()
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # the listing's own descriptor has gone
                targets.add(str(descriptor.readlink()))
        return {target for target in targets if target.endswith((".tar", ".samples", ".jsonl"))}

    return listing
