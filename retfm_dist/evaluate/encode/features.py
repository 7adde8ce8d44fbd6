"""Features of photographs under every model; each photograph is read, decoded and cropped once."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from retfm_dist.console import track
from retfm_dist.errors import ImageError
from retfm_dist.evaluate.config import ComputeConfig
from retfm_dist.evaluate.encode.cache import FeatureCache
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.evaluate.encode.photographs import Photograph, Squares, prepare_squares, read_file

BLOCK_IMAGES = 256
"""Photographs held in memory at once, and written to the cache together."""


@dataclass(frozen=True)
class EncodedImages:
    """What encoding the photographs of a table found.

    Attributes:
        digests: sha256 of the file by row of the table.
        by_model: Per model id, float32 features [D] by sha256.
        bad: Reason by sha256, for images that could not be used.
    """

    digests: Mapping[int, str]
    by_model: Mapping[str, Mapping[str, NDArray[np.float32]]]
    bad: Mapping[str, str]

    def matrix(self, model_id: str, digests: Sequence[str]) -> NDArray[np.float64]:
        """Return [N, D] the features of the images named, in their order."""
        features = self.by_model[model_id]
        return np.stack([features[digest] for digest in digests]).astype(np.float64)


@dataclass(frozen=True)
class _Prepared:
    """One photograph on its way to the models.

    Attributes:
        sha256: Hex digest of the file.
        content: What the models take, or why there is nothing; None where no model needs it.
    """

    sha256: str
    content: Squares | str | None


def encode_images(
    photographs: Sequence[Photograph],
    models: Sequence[Model],
    *,
    cache_dir: Path,
    compute: ComputeConfig,
) -> EncodedImages:
    """Return the features of all photographs under all models, from the cache where they are there.

    Without models the photographs are hashed and nothing else.

    Args:
        photographs: The files, in any order; identical ones are encoded once.
        models: What computes features.
        cache_dir: Directory of the cache.
        compute: Batch size and threads.

    Raises:
        EvaluateError: A file cannot be read now.
    """
    caches = {model.id: FeatureCache(cache_dir, model) for model in models}
    digests: dict[int, str] = {}
    starts = range(0, len(photographs), BLOCK_IMAGES)
    with ThreadPoolExecutor(compute.decode_threads) as pool:
        for start in track(starts, description="features", total=len(starts)):
            block = photographs[start : start + BLOCK_IMAGES]
            prepared = list(pool.map(lambda item: _prepare(item, models, caches), block))
            digests.update(
                (photograph.row, image.sha256)
                for photograph, image in zip(block, prepared, strict=True)
            )
            for model in models:
                _encode_block(prepared, model, caches[model.id], batch_size=compute.batch_size)
    return EncodedImages(
        digests=digests,
        by_model={name: cache.features for name, cache in caches.items()},
        bad={image: reason for cache in caches.values() for image, reason in cache.bad.items()},
    )


def _prepare(
    photograph: Photograph, models: Sequence[Model], caches: Mapping[str, FeatureCache]
) -> _Prepared:
    """Read a photograph; decode and crop it where a model's cache lacks it."""
    data = read_file(photograph.path, where=photograph.where)
    sha256 = hashlib.sha256(data).hexdigest()
    sizes = {model.extractor.img_size for model in models if sha256 not in caches[model.id]}
    if not sizes:
        return _Prepared(sha256, None)
    try:
        return _Prepared(sha256, prepare_squares(data, sorted(sizes)))
    except ImageError as error:
        return _Prepared(sha256, str(error))


def _encode_block(
    prepared: Sequence[_Prepared], model: Model, cache: FeatureCache, *, batch_size: int
) -> None:
    """Encode the photographs of a block that a model's cache lacks, and keep the result."""
    lacking = {image.sha256: image.content for image in prepared if image.sha256 not in cache}
    bad = {sha256: content for sha256, content in lacking.items() if isinstance(content, str)}
    size = model.extractor.img_size
    squares = {
        sha256: torch.from_numpy(content[size].copy())
        for sha256, content in lacking.items()
        if content is not None and not isinstance(content, str)
    }
    pixels = list(squares.values())
    features = [
        model.extractor.extract(torch.stack(pixels[start : start + batch_size]))
        for start in range(0, len(pixels), batch_size)
    ]
    matrix = torch.cat(features) if features else torch.zeros(0, 0)
    cache.add(list(squares), matrix, bad=bad)
