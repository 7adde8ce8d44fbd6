"""An index over tars that somebody else has written, such as webdataset or img2dataset.

A sample is what shares the name up to the first dot; its image is the member that ends in .jpg or
.jpeg. The tars stay as they are: beside each comes its `.samples`, beside all of them
manifest.json, set.index and skipped.csv, which names what cannot be trained on and why.
"""

import csv
import hashlib
import io
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from retfm_dist.console import track
from retfm_dist.durable import sha256_file, write_text
from retfm_dist.errors import ImageError, ShardError
from retfm_dist.image.jpeg import decode_strictly
from retfm_dist.shard.index import SAMPLE_DTYPE, read_sample_index, write_sample_index
from retfm_dist.shard.manifest import MANIFEST_NAME, FileEntry, ShardEntry, write_manifest
from retfm_dist.shard.set_index import write_set_index
from retfm_dist.workers import map_in_order

SKIPPED_NAME = "skipped.csv"
_IMAGE_SUFFIXES = frozenset({"jpg", "jpeg"})
_OTHER_IMAGES = frozenset({"png", "webp", "tif", "tiff", "bmp", "gif", "ppm", "jp2"})
_ORIENTATION = 0x0112
_UPRIGHT = (None, 1)
_END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True)
class Skipped:
    """A sample that is not trained on.

    Attributes:
        tar: Name of the tar.
        key: Name of the sample in it.
        reason: What is wrong with it.
    """

    tar: str
    key: str
    reason: str


@dataclass(frozen=True)
class ScannedTar:
    """What was found in a tar.

    Attributes:
        name: Its file name.
        records: [N] of `SAMPLE_DTYPE`.
        keys: Name of each sample.
        skipped: What cannot be used.
        num_turned: Images whose EXIF asks to turn them; they are read as stored.
        num_progressive: Images that a GPU's JPEG engine does not decode.
    """

    name: str
    records: np.ndarray
    keys: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    num_turned: int = 0
    num_progressive: int = 0


@dataclass(frozen=True)
class IndexSummary:
    """Totals of an index.

    Attributes:
        num_samples: Samples that can be trained on.
        num_shards: Tars.
        skipped: Number of samples skipped, by reason.
        num_turned: Images whose EXIF asks to turn them.
        num_progressive: Progressive JPEGs.
        fingerprint: Names the content of the set.
    """

    num_samples: int
    num_shards: int
    skipped: dict[str, int]
    num_turned: int
    num_progressive: int
    fingerprint: str


@dataclass(frozen=True)
class ScanTask:
    """One tar to scan, in a worker process.

    Attributes:
        path: The tar.
        decode: Whether every image is decoded.
    """

    path: Path
    decode: bool


def index_tars(directory: Path, *, decode: bool = True, workers: int = 1) -> IndexSummary:
    """Write our index over the tars of a directory.

    Args:
        directory: Where the tars are.
        decode: Decode every image and skip those that are damaged.
        workers: Worker processes.

    Raises:
        ShardError: There are no tars, the directory has a manifest already, a tar cannot be read
            as one, or no image can be used.
    """
    paths = sorted(directory.glob("*.tar"))
    _check_directory(directory, paths)
    tasks = [ScanTask(path, decode) for path in paths]
    shards, scanned, taken = [], [], set()
    with closing(map_in_order(scan_tar, tasks, workers=workers)) as results:
        for found in track(results, description="indexing tars", total=len(tasks)):
            tar = _without_copies(found, taken)
            path = directory / tar.name
            write_sample_index(path.with_suffix(".samples"), tar.records)
            entry = ShardEntry(tar.name, path.stat().st_size, sha256_file(path), len(tar.records))
            shards.append(entry)
            scanned.append(tar)
    skipped = [item for tar in scanned for item in tar.skipped]
    if not taken:
        raise ShardError(
            "no image of the tars can be used",
            where=directory,
            got=_first_words(skipped),
            expected="samples with a member .jpg or .jpeg",
        )
    write_text(directory / SKIPPED_NAME, _render_skipped(skipped))
    names = [SKIPPED_NAME, *(shard.index_name for shard in shards)]
    files = [
        FileEntry(name, (directory / name).stat().st_size, sha256_file(directory / name))
        for name in names
    ]
    counts = dict(Counter(item.reason.partition(":")[0] for item in skipped))
    build = {"indexed": True, "decoded": decode, "skipped": counts}
    manifest = write_manifest(directory, shards=shards, files=files, build=build)
    write_set_index(directory)
    return IndexSummary(
        num_samples=len(taken),
        num_shards=len(shards),
        skipped=counts,
        num_turned=sum(tar.num_turned for tar in scanned),
        num_progressive=sum(tar.num_progressive for tar in scanned),
        fingerprint=manifest.fingerprint,
    )


def scan_tar(task: ScanTask) -> ScannedTar:
    """Find the images of a tar.

    Raises:
        ShardError: It is no tar, is compressed or is cut short.
    """
    name = task.path.name
    records, keys, skipped = [], [], []
    num_turned = num_progressive = 0
    for key, members in _samples(task.path):
        try:
            with task.path.open("rb") as file:
                record, is_turned, is_progressive = _describe(file, members, decode=task.decode)
        except ImageError as error:
            skipped.append(Skipped(name, key, str(error)))
            continue
        records.append(record)
        keys.append(key)
        num_turned += is_turned
        num_progressive += is_progressive
    return ScannedTar(
        name,
        np.array(records, SAMPLE_DTYPE),
        tuple(keys),
        tuple(skipped),
        num_turned,
        num_progressive,
    )


def find_tar_problems(directory: Path, shard: ShardEntry, *, full: bool) -> list[str]:
    """Compare an indexed tar with its index; return what is wrong.

    Args:
        directory: The set.
        shard: The tar.
        full: Also compare its sha256 and decode every image.
    """
    path = directory / shard.name
    if full and sha256_file(path) != shard.sha256:
        return [f"{shard.name} has another sha256"]
    try:
        found = scan_tar(ScanTask(path, decode=full)).records
        records = read_sample_index(directory / shard.index_name)
    except ShardError as error:
        return [str(error)]
    # Copies of earlier images are in the tar and not in the index.
    if not set(records.tolist()) <= set(found.tolist()):
        return [f"{shard.index_name} does not describe {shard.name}"]
    return []


def _check_directory(directory: Path, paths: Sequence[Path]) -> None:
    """Refuse to index what is no directory of plain tars."""
    if (directory / MANIFEST_NAME).exists():
        raise ShardError(
            "the tars have a manifest already",
            where=directory / MANIFEST_NAME,
            hint="remove it to index the tars anew; `verify` says whether it is right",
        )
    odd = [path for path in paths if not path.is_file()]
    if odd:
        raise ShardError("not a regular file", where=odd[0], hint="move it out of the directory")
    if not paths:
        packed = sorted(directory.glob("*.tar.*"))
        raise ShardError(
            "no tars to index",
            where=directory,
            got=f"compressed ones such as {packed[0].name}" if packed else "none",
            expected="files NAME.tar, not compressed: a sample must be found without unpacking",
        )


def _samples(path: Path) -> Iterator[tuple[str, list[tarfile.TarInfo]]]:
    """Yield the samples of a tar: name up to the first dot, and members."""
    samples: dict[str, list[tarfile.TarInfo]] = {}
    try:
        # "r:" takes no compressed tar; PAX and GNU headers are read as what they are.
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                place = PurePosixPath(member.name)
                if member.isreg() and not place.name.startswith("."):
                    key = str(place.parent / place.name.partition(".")[0])
                    samples.setdefault(key, []).append(member)
            end = path.stat().st_size
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ShardError("cannot be read as a tar", where=path, got=error) from error
    for key, members in samples.items():
        if any(member.offset_data + member.size > end for member in members):
            raise ShardError(
                "the tar is cut short",
                where=path,
                got=f"{end} bytes, and {key} goes on beyond them",
                hint="copy it again",
            )
        yield key, members


def _describe(
    file: io.BufferedReader, members: Sequence[tarfile.TarInfo], *, decode: bool
) -> tuple[tuple[int, ...], bool, bool]:
    """Return the record of a sample, whether EXIF turns its image, and whether it is progressive.

    Raises:
        ImageError: It has no image that can be used.
    """
    member = _image_of(members)
    file.seek(member.offset_data)
    data = file.read(member.size)
    # What follows the end of the image, zeros as a rule, is left out of the record.
    data = data[: data.rfind(_END_OF_IMAGE) + len(_END_OF_IMAGE)]
    try:
        with Image.open(io.BytesIO(data)) as image:
            (width, height), kind = image.size, image.format
            is_turned = image.getexif().get(_ORIENTATION) not in _UPRIGHT
            is_progressive = bool(image.info.get("progressive"))
    except Exception as error:  # Pillow raises whatever its parsers do
        raise ImageError("cannot be decoded", got="no header of an image") from error
    if kind != "JPEG" or not data.endswith(_END_OF_IMAGE):
        raise ImageError("cannot be decoded", got="not a whole JPEG")
    if decode:
        decode_strictly(data)
    uid = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    place = (member.offset_data, len(data), zlib.crc32(data))
    return (*place, height, width, uid, 0), is_turned, is_progressive


def _image_of(members: Sequence[tarfile.TarInfo]) -> tarfile.TarInfo:
    """Return the member of a sample that is its image."""
    suffixes = [member.name.rpartition(".")[2].lower() for member in members]
    images = [m for m, suffix in zip(members, suffixes, strict=True) if suffix in _IMAGE_SUFFIXES]
    if len(images) == 1:
        return images[0]
    if images:
        raise ImageError("several images in one sample", got=f"{len(images)}")
    others = sorted(_OTHER_IMAGES & set(suffixes))
    raise ImageError("no JPEG", got=f"a .{others[0]}" if others else "no image at all")


def _without_copies(tar: ScannedTar, taken: set[int]) -> ScannedTar:
    """Leave out images that an earlier sample holds too, and add the others to `taken`."""
    keep, copies = [], []
    for row, uid in enumerate(tar.records["uid"].tolist()):
        if uid in taken:
            copies.append(Skipped(tar.name, tar.keys[row], "a copy of an earlier image"))
        else:
            taken.add(uid)
            keep.append(row)
    return ScannedTar(
        tar.name,
        tar.records[keep],
        tuple(tar.keys[row] for row in keep),
        (*tar.skipped, *copies),
        tar.num_turned,
        tar.num_progressive,
    )


def _first_words(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return "tars without samples"
    return f"{len(skipped)} samples, the first {skipped[0].key}: {skipped[0].reason}"


def _render_skipped(skipped: Sequence[Skipped]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["tar", "key", "reason"])
    writer.writerows([item.tar, item.key, item.reason] for item in skipped)
    return buffer.getvalue()
