"""Feature cache on disk, keyed by everything that the features depend on.

    features/KEY/SEGMENT.safetensors    "features" [n, D] float32; metadata: images, bad

KEY is the sha256 of the model's identity, the code and library versions that prepare and encode
images, and the device: nothing that changes a feature leaves it alone, so stale features cannot be
found. A segment holds the images that were encoded together, by their sha256; later images make
further segments and invalidate none. SEGMENT is the sha256 of its list of images.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

import retfm_dist.evaluate.encode
import retfm_dist.export.architecture
import retfm_dist.image
from retfm_dist.durable import open_atomic
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.versions import software_versions

logger = logging.getLogger(__name__)

_SCHEMA = "retfm-features/2"
_LIBRARIES = ("numpy", "pillow", "scipy", "timm", "torch")


class FeatureCache:
    """Features of one model, by the sha256 of the image.

    Attributes:
        features: float32 [D] by sha256, of the images that could be used.
        bad: Reason by sha256, of the images that could not.
    """

    def __init__(self, cache_dir: Path, model: Model) -> None:
        """Read every segment of the model; a damaged one is removed and recomputed."""
        self._directory = cache_dir / cache_key(model)
        self.features: dict[str, NDArray[np.float32]] = {}
        self.bad: dict[str, str] = {}
        for path in sorted(self._directory.glob("*.safetensors")):
            try:
                self._read(path)
            except (SafetensorError, ValueError, KeyError, OSError) as error:
                logger.warning("damaged feature cache %s, recomputing: %s", path, error)
                path.unlink(missing_ok=True)

    def __contains__(self, image: str) -> bool:
        """Whether the image has been encoded, or found unusable."""
        return image in self.features or image in self.bad

    def add(self, images: Sequence[str], features: torch.Tensor, *, bad: Mapping[str, str]) -> None:
        """Keep the features of images encoded together.

        Args:
            images: sha256 of each image.
            features: float32 [n, D], in the order of `images`.
            bad: Reason by sha256 of images that could not be used.
        """
        names = [*images, *bad]
        if not names:
            return
        segment = hashlib.sha256("".join(names).encode("ascii")).hexdigest()
        metadata = {
            "schema": _SCHEMA,
            "images": json.dumps(list(images)),
            "bad": json.dumps(dict(bad)),
        }
        path = self._directory / f"{segment}.safetensors"
        with open_atomic(path) as file:
            file.write(save({"features": features.contiguous()}, metadata))
        self.features.update(zip(images, features.numpy(), strict=True))
        self.bad.update(bad)

    def _read(self, path: Path) -> None:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            images, bad = json.loads(metadata["images"]), json.loads(metadata["bad"])
            self.features.update(zip(images, file.get_tensor("features"), strict=True))
        self.bad.update(bad)


def cache_key(model: Model) -> str:
    """Return the name under which the features of a model are kept."""
    libraries = software_versions(*_LIBRARIES)
    parts = [_SCHEMA, model.identity, model.extractor.device.type, _code_digest(), libraries]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _code_digest() -> str:
    """Return the sha256 of the source between the bytes of a photograph and its features."""
    packages = (retfm_dist.image, retfm_dist.evaluate.encode)
    folders = [Path(next(iter(package.__path__))) for package in packages]
    modules = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    digest = hashlib.sha256()
    for path in [*modules, Path(str(retfm_dist.export.architecture.__file__))]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
