"""Features of images under every arm, computed once and kept under a name made of their content.

    features/KEY.safetensors    "features" [n, D] float32 of up to 256 images; metadata: images, bad

KEY is the sha256 of the arm's identity, the images' sha256 in order, the code and the library
versions that prepare them, and the device. Nothing that changes a feature leaves the key alone, so
stale features cannot be found; a run that was killed finds the chunks it had finished.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

import retfm_dist.evaluate.encode.handcrafted
import retfm_dist.evaluate.encode.models
import retfm_dist.export.architecture
import retfm_dist.image
from retfm_dist.console import track
from retfm_dist.durable import open_atomic
from retfm_dist.errors import EvaluateError, ImageError
from retfm_dist.evaluate.config import ComputeConfig
from retfm_dist.evaluate.encode.models import Arm
from retfm_dist.image.crop import crop_field_of_view
from retfm_dist.image.field_of_view import find_field_of_view
from retfm_dist.image.read import decode_image

CHUNK_IMAGES = 256
_SCHEMA = "retfm-features/1"
_LIBRARIES = ("numpy", "pillow", "scipy", "timm", "torch")
# The code between a file and its features, beside the package `image`.
_MODULES = (
    retfm_dist.evaluate.encode.models,
    retfm_dist.evaluate.encode.handcrafted,
    retfm_dist.export.architecture,
)


@dataclass(frozen=True)
class FeatureSet:
    """Features of one table's images.

    Attributes:
        by_arm: Per arm id, float32 features [D] by the image's sha256.
        bad: Reason by sha256, for images that could not be used.
    """

    by_arm: Mapping[str, Mapping[str, NDArray[np.float32]]]
    bad: Mapping[str, str]

    def matrix(self, arm_id: str, digests: Sequence[str]) -> NDArray[np.float64]:
        """Return [N, D] the features of the images named, in their order."""
        features = self.by_arm[arm_id]
        return np.stack([features[digest] for digest in digests]).astype(np.float64)


@dataclass(frozen=True)
class _Chunk:
    """Features [n, D] of the images that could be used, and the reasons of the others."""

    images: list[str]
    features: NDArray[np.float32]
    bad: dict[str, str]


def compute_features(
    paths: Mapping[str, Path], arms: Sequence[Arm], *, cache_dir: Path, compute: ComputeConfig
) -> FeatureSet:
    """Return the features of all images under all arms, from the cache where they are there.

    A photograph is read and cropped once for all arms that lack it.

    Args:
        paths: File by the image's sha256.
        arms: What computes features.
        cache_dir: Directory of the cache.
        compute: Batch size and threads.
    """
    digests = sorted(paths)
    starts = range(0, len(digests), CHUNK_IMAGES)
    by_arm: dict[str, dict[str, NDArray[np.float32]]] = {arm.id: {} for arm in arms}
    bad: dict[str, str] = {}
    for start in track(starts, description="features", total=len(starts)):
        names = digests[start : start + CHUNK_IMAGES]
        files = {arm.id: cache_dir / f"{chunk_key(arm, names)}.safetensors" for arm in arms}
        lacking = [arm for arm in arms if not files[arm.id].is_file()]
        if lacking:
            _fill_chunk([paths[name] for name in names], names, lacking, files, compute)
        for arm in arms:
            chunk = _read_chunk(files[arm.id])
            by_arm[arm.id].update(zip(chunk.images, chunk.features, strict=True))
            bad.update(chunk.bad)
    return FeatureSet(by_arm, bad)


def chunk_key(arm: Arm, digests: Sequence[str]) -> str:
    """Return the name under which an arm's features of these images are kept."""
    device = getattr(getattr(arm.extractor, "device", None), "type", "cpu")
    libraries = {name: version(name) for name in _LIBRARIES}
    parts = [_SCHEMA, arm.identity, device, _code_digest(), libraries, list(digests)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def prepare_image(path: Path, sizes: Sequence[int], *, where: str) -> dict[int, NDArray[np.uint8]]:
    """Read a photograph, crop it to its field of view, and resize it to each side length.

    Args:
        path: JPEG, PNG or TIFF file.
        sizes: Side lengths, px.
        where: Names the file in a message.

    Returns:
        Per side length S, uint8 [3, S, S].

    Raises:
        ImageError: The file is no usable photograph.
        EvaluateError: The file cannot be read now.
    """
    photograph = decode_image(read_file(path, where=where))
    square = crop_field_of_view(photograph, find_field_of_view(photograph))
    return {
        size: np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        for size in sizes
    }


def read_file(path: Path, *, where: str) -> bytes:
    """Return an image file's bytes.

    Args:
        path: The file.
        where: Names it in a message; file names may name patients.

    Raises:
        EvaluateError: The system refuses them. That is no property of the image, so it ends the
            evaluation and is remembered nowhere.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvaluateError(
            "cannot read an image file",
            where=where,
            got=error.strerror,
            hint="start again when the storage answers; finished features are kept",
        ) from error


def _code_digest() -> str:
    """Return the sha256 of the source that turns a file into features."""
    package = Path(next(iter(retfm_dist.image.__path__)))
    digest = hashlib.sha256()
    modules = [Path(module.__file__) for module in _MODULES if module.__file__]
    for path in [*sorted(package.glob("*.py")), *modules, Path(__file__)]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _fill_chunk(
    paths: Sequence[Path],
    digests: Sequence[str],
    arms: Sequence[Arm],
    files: Mapping[str, Path],
    compute: ComputeConfig,
) -> None:
    """Compute and write the chunk of every arm given."""
    sizes = sorted({arm.extractor.img_size for arm in arms})

    def prepare(path: Path, digest: str) -> dict[int, NDArray[np.uint8]] | str:
        try:
            return prepare_image(path, sizes, where=f"image with sha256 {digest}")
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(compute.decode_threads) as pool:
        results = dict(zip(digests, pool.map(prepare, paths, digests), strict=True))
    bad = {digest: result for digest, result in results.items() if isinstance(result, str)}
    good = {digest: result for digest, result in results.items() if not isinstance(result, str)}
    for arm in arms:
        size = arm.extractor.img_size
        pixels = [torch.from_numpy(images[size].copy()) for images in good.values()]
        features = [
            arm.extractor.extract(torch.stack(pixels[start : start + compute.batch_size]))
            for start in range(0, len(pixels), compute.batch_size)
        ]
        matrix = torch.cat(features) if features else torch.zeros(0, 0)
        metadata = {"schema": _SCHEMA, "images": json.dumps(list(good)), "bad": json.dumps(bad)}
        with open_atomic(files[arm.id]) as file:
            file.write(save({"features": matrix.contiguous()}, metadata))


def _read_chunk(path: Path) -> _Chunk:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        return _Chunk(
            images=json.loads(metadata["images"]),
            features=file.get_tensor("features"),
            bad=json.loads(metadata["bad"]),
        )
