"""Read the tensors of a weights file, whatever published form it has.

A .safetensors file, or a .pth file with the state dict itself or under "model", as MAE, RETFound
and our exports write it. Code in a pickle is never run. A file is read from disk once: the bytes
that are hashed are the bytes that are parsed.
"""

import argparse
import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from retfm_dist.errors import ModelError

NUM_HEADS_KEY = "num_heads"
"""Key of the number of attention heads, which no shape shows: in the metadata of a .safetensors
file, and beside "model" in a .pth file."""

_LARGEST_TEXT_BYTES = 1 << 16
# Number of attention heads of MAE's constructors, whose name its checkpoints hold in `args`.
_HEADS_OF_CONSTRUCTOR = {
    "mae_vit_base_patch16": 12,
    "mae_vit_large_patch16": 16,
    "mae_vit_huge_patch14": 16,
}


@dataclass(frozen=True)
class WeightsFile:
    """Content of a weights file.

    Attributes:
        tensors: Tensors by name, on the CPU.
        sha256: Hex digest of the file's bytes.
        num_heads: Attention heads of an encoder block, where the file states them.
    """

    tensors: dict[str, torch.Tensor]
    sha256: str
    num_heads: int | None


def read_weights_file(path: Path) -> WeightsFile:
    """Read and parse a weights file.

    Raises:
        ModelError: The file is missing, cannot be read, or holds something other than tensors.
    """
    return parse_weights(read_weights_bytes(path), path)


def read_weights_bytes(path: Path) -> bytes:
    """Read the bytes of a weights file.

    Raises:
        ModelError: The file is missing or cannot be read.
    """
    if not path.is_file():
        raise ModelError(
            "no such weights file",
            where=path,
            hint="check the path; run.init_from=null starts from random weights",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError("cannot read the weights", where=path, got=error.strerror) from error


def parse_weights(data: bytes, path: Path) -> WeightsFile:
    """Parse the bytes of a weights file.

    Args:
        data: The whole file.
        path: Its name, which says the format and is used in messages.

    Raises:
        ModelError: The bytes hold something other than tensors, or are damaged.
    """
    _refuse_text(data, path)
    try:
        parse = _parse_safetensors if path.suffix == ".safetensors" else _parse_pickle
        tensors, num_heads = parse(data)
    except pickle.UnpicklingError as error:
        # torch's own message advises weights_only=False, which would run whatever is in the file.
        raise ModelError(
            "the pickle is damaged, or holds objects other than tensors",
            where=path,
            expected="a state dict saved by torch.save",
            hint="save it again as {'model': model.state_dict()}; code in a pickle is never run",
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            "cannot read the weights",
            where=path,
            got=_first_line(error),
            expected="a .safetensors file, or a .pth file written by torch.save",
            hint="download or copy it again",
        ) from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in tensors.items()
    ):
        raise ModelError(
            "no state dict in this file", where=path, expected='tensors by name, or under "model"'
        )
    return WeightsFile(dict(tensors), hashlib.sha256(data).hexdigest(), num_heads)


def _parse_safetensors(data: bytes) -> tuple[object, int | None]:
    tensors = safetensors.torch.load(data)
    header_bytes = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + header_bytes]).get("__metadata__", {})
    heads = metadata.get(NUM_HEADS_KEY, "")
    return tensors, (int(heads) or None) if heads.isdecimal() else None


def _parse_pickle(data: bytes) -> tuple[object, int | None]:
    # Training scripts of MAE and RETFound store their arguments beside the weights.
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols, which become an error anyway
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        return None, None
    return content.get("model", content), _stated_heads(content)


def _stated_heads(content: Mapping[str, Any]) -> int | None:
    """Return the number of heads that a checkpoint states beside its tensors, if it does."""
    heads = content.get(NUM_HEADS_KEY)
    if isinstance(heads, int) and heads > 0:
        return heads
    constructor = getattr(content.get("args"), "model", None)
    return _HEADS_OF_CONSTRUCTOR.get(constructor) if isinstance(constructor, str) else None


def _refuse_text(data: bytes, path: Path) -> None:
    """Refuse what a failed download leaves: a Git LFS pointer, a web page, an empty file.

    Raises:
        ModelError: See above.
    """
    head = data[:_LARGEST_TEXT_BYTES].lstrip()
    if not head:
        raise ModelError("the weights file is empty", where=path, hint="download it again")
    if head.startswith(b"version https://git-lfs.github.com/spec"):
        raise ModelError(
            "a Git LFS pointer, not the weights themselves",
            where=path,
            hint="fetch the file with `git lfs pull`, or download it from the hub's web page",
        )
    if head[:1024].lower().startswith((b"<html", b"<!doctype", b"<?xml")):
        raise ModelError(
            "a web page, not weights",
            where=path,
            hint="the download needs a login or a direct link; download the file itself",
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
