"""Other people's loaders on the same JPEGs, each as its documentation shows it.

All crop, flip and normalize as MAE and RETFound do, and yield the batch sizes of one epoch.
"""

import importlib.util
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.io import decode_jpeg, read_file
from torchvision.transforms import v2
from webdataset import WebDataset, WebLoader

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALE = (0.2, 1.0)

PIL_NAME = "DataLoader + ImageFolder + PIL"
"""What MAE and RETFound do."""


def pil_transform() -> Callable[[Image.Image], torch.Tensor]:
    """Return the transform of MAE and RETFound."""
    bicubic = transforms.InterpolationMode.BICUBIC
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(224, scale=SCALE, interpolation=bicubic),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def load_with_pil(folder: Path, batch_size: int) -> Iterator[int]:
    """The usual PyTorch loader."""
    images = ImageFolder(str(folder), pil_transform())
    for batch, _ in DataLoader(images, batch_size=batch_size, shuffle=True, drop_last=True):
        yield len(batch)


class _DecodedFiles(Dataset[torch.Tensor]):
    """JPEG files, decoded and augmented as tensors."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._transform = v2.Compose(
            [
                v2.RandomResizedCrop(
                    224, scale=SCALE, interpolation=v2.InterpolationMode.BICUBIC, antialias=True
                ),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self._transform(decode_jpeg(read_file(str(self._paths[i]))))


def load_with_torchvision(paths: list[Path], batch_size: int) -> Iterator[int]:
    """Torchvision's own decoder and tensor transforms in a DataLoader."""
    images = _DecodedFiles(paths)
    for batch in DataLoader(images, batch_size=batch_size, shuffle=True, drop_last=True):
        yield len(batch)


def load_with_webdataset(shards: Path, batch_size: int) -> Iterator[int]:
    """The webdataset library on our own tars."""
    tars = [str(path) for path in sorted(shards.glob("*.tar"))]
    transform = pil_transform()
    images = (
        WebDataset(tars, shardshuffle=False, empty_check=False)
        .shuffle(256)
        .decode("pil")
        .to_tuple("jpg")
        .map_tuple(transform)
        .batched(batch_size, partial=False)
    )
    for (batch,) in WebLoader(images, batch_size=None, num_workers=0):
        yield len(batch)


def has_streaming() -> bool:
    """Whether MosaicML Streaming can be imported; it pins an older numpy than we do."""
    return importlib.util.find_spec("streaming") is not None


def write_streaming(paths: list[Path], out: Path) -> None:
    """Write JPEGs as a set of MosaicML Streaming."""
    from streaming import MDSWriter  # pyright: ignore[reportMissingImports]

    with MDSWriter(out=str(out), columns={"jpg": "bytes"}) as writer:
        for path in paths:
            writer.write({"jpg": path.read_bytes()})


def load_with_streaming(local: Path, batch_size: int) -> Iterator[int]:
    """MosaicML Streaming from a local directory."""
    from streaming import StreamingDataset  # pyright: ignore[reportMissingImports]

    transform = pil_transform()

    class Images(StreamingDataset):
        def __getitem__(self, at: Any) -> torch.Tensor:
            return transform(Image.open(io.BytesIO(super().__getitem__(at)["jpg"])).convert("RGB"))

    images = Images(local=str(local), shuffle=True, batch_size=batch_size)
    for batch in DataLoader(images, batch_size=batch_size, drop_last=True):
        yield len(batch)
