"""The perceptual hash of photographs, computed and cached as the features of a model are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from retfm_dist.evaluate.encode.features import EncodedImages
from retfm_dist.evaluate.encode.models import Model
from retfm_dist.image.encode import difference_hash

_ID = "perceptual_hash"
"""Id under which the hashes are computed and cached, beside the models' features."""
_SIDE_PX = 512


@dataclass(frozen=True)
class LooksExtractor:
    """The perceptual hash as a feature extractor: read, cropped and cached like any model's."""

    img_size: int = _SIDE_PX

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return torch.device("cpu")

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 [B, 256] the bits of the hash of uint8 [B, 3, S, S] images."""
        rows = []
        for image in images:
            picture = Image.fromarray(np.ascontiguousarray(image.numpy().transpose(1, 2, 0)))
            digest = np.frombuffer(bytes.fromhex(difference_hash(picture)), np.uint8)
            rows.append(np.unpackbits(digest))
        return torch.from_numpy(np.stack(rows).astype(np.float32))


def looks_model() -> Model:
    """Return the perceptual hash as a model."""
    return Model(_ID, "perceptual_hash", "difference hash 1, 512 px", {}, LooksExtractor())


def looks_of(encoded: EncodedImages, digests: Sequence[str]) -> list[str]:
    """Return the hash (64 hex digits) of each image, given its file's sha256."""
    bits = encoded.matrix(_ID, digests).astype(np.uint8)
    return [np.packbits(row).tobytes().hex() for row in bits]
