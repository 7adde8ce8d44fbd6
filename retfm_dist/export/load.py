"""Load an exported encoder, or one from a plain MAE or RETFound file, strictly.

Nothing is renamed, interpolated or left out silently: a tensor that is missing, superfluous or of
another shape is an error that names it. No code in a file is ever run.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer

from retfm_dist.durable import sha256_file
from retfm_dist.errors import ExportError
from retfm_dist.export.architecture import (
    Architecture,
    Preprocessing,
    architecture_of,
    build_encoder,
    encoder_state,
)
from retfm_dist.weights.compare import describe_mismatch, shapes_of
from retfm_dist.weights.read import WeightsFile, parse_weights, read_weights_bytes

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
PROVENANCE_NAME = "provenance.json"

_WRITE_ANEW = "export the run again"


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder ready to compute features.

    Attributes:
        model: timm encoder in eval mode, in fp32, on the CPU. Its output is [B, embed_dim]: the
            final norm of all tokens, averaged over the patch tokens.
        architecture: Its dimensions.
        preprocessing: How its input is made.
        weights_sha256: Hex digest of the file that the weights came from.
    """

    model: VisionTransformer
    architecture: Architecture
    preprocessing: Preprocessing
    weights_sha256: str


def load_encoder(path: Path, *, num_heads: int | None = None) -> LoadedEncoder:
    """Load an encoder; its weights file is read once.

    Args:
        path: Export directory, or a MAE or RETFound state dict (.pth or .safetensors).
        num_heads: Attention heads, for a file that does not state them; an export does.

    Raises:
        ExportError: Something is missing or does not fit.
        ModelError: The file is damaged or holds no state dict.
    """
    weights_path = path / WEIGHTS_NAME if path.is_dir() else path
    if not weights_path.is_file():
        raise ExportError(
            "no exported model here",
            where=path,
            expected=WEIGHTS_NAME if path.is_dir() else "an export directory or a .pth file",
            hint="write one with python -m retfm_dist.export RUN_DIR --out EXPORT_DIR",
        )
    data = read_weights_bytes(weights_path)
    if path.is_dir():
        digests = _read_digests(path, (WEIGHTS_NAME, CONFIG_NAME))
        _check_digest(weights_path, hashlib.sha256(data).hexdigest(), digests[WEIGHTS_NAME])
        _check_digest(path / CONFIG_NAME, sha256_file(path / CONFIG_NAME), digests[CONFIG_NAME])
    weights = parse_weights(data, weights_path)
    state = {name: tensor.float() for name, tensor in encoder_state(weights.tensors).items()}
    if path.is_dir():
        architecture = _read_config(path, num_heads=num_heads)
    else:
        heads = _choose_heads(weights, num_heads, where=path)
        architecture = architecture_of(state, num_heads=heads, where=path)
    model = build_encoder(architecture)
    if mismatch := describe_mismatch(shapes_of(state), shapes_of(model.state_dict())):
        raise ExportError(
            "the weights are not those of the encoder",
            where=path,
            got=mismatch,
            expected=f"a ViT of {architecture.depth} blocks of width {architecture.embed_dim}",
        )
    model.load_state_dict(state, strict=True)
    preprocessing = Preprocessing(img_size=architecture.img_size)
    return LoadedEncoder(model.eval(), architecture, preprocessing, weights.sha256)


def verify_export(export_dir: Path) -> None:
    """Check every file of an export directory against the sha256 in its provenance.

    Raises:
        ExportError: A file is missing or differs, or there is no usable provenance.
    """
    for name, expected in _read_digests(export_dir).items():
        path = export_dir / name
        if not path.is_file():
            raise ExportError("file is missing", where=path, hint=_WRITE_ANEW)
        _check_digest(path, sha256_file(path), expected)


def _choose_heads(weights: WeightsFile, num_heads: int | None, *, where: Path) -> int:
    """Return the number of heads that the file states, else the one given.

    Raises:
        ExportError: Neither is there, or they contradict each other.
    """
    heads = num_heads if weights.num_heads is None else weights.num_heads
    if heads is None:
        raise ExportError(
            "the file does not state the number of attention heads, and no shape shows it",
            where=where,
            hint="set num_heads; ViT-S has 6, ViT-B 12, ViT-L and ViT-H 16",
        )
    if num_heads not in (None, heads):
        raise ExportError(
            "num_heads contradicts the file",
            where=where,
            got=num_heads,
            expected=f"{heads}, as the file states",
            hint="leave num_heads out",
        )
    return heads


def _read_digests(export_dir: Path, names: Sequence[str] = ()) -> dict[str, str]:
    """Return the sha256 of the files of an export, of all or of those named."""
    path = export_dir / PROVENANCE_NAME
    if not path.is_file():
        raise ExportError(
            f"no {PROVENANCE_NAME}",
            where=export_dir,
            hint="the export is incomplete; export the run again",
        )
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {name: digests[name] for name in names or digests}
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError("damaged provenance", where=path, hint=_WRITE_ANEW) from error


def _check_digest(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ExportError(
            "file is damaged or was changed",
            where=path,
            got=f"sha256 {found}",
            expected=expected,
            hint=_WRITE_ANEW,
        )


def _read_config(export_dir: Path, *, num_heads: int | None) -> Architecture:
    """Read the dimensions that an export's config.json states."""
    path = export_dir / CONFIG_NAME
    try:
        model_args: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model_args"]
        architecture = Architecture(
            **{field.name: model_args[field.name] for field in fields(Architecture)}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            "not the config of an export",
            where=path,
            got=f"{type(error).__name__}: {error}",
            hint=_WRITE_ANEW,
        ) from error
    if num_heads not in (None, architecture.num_heads):
        raise ExportError(
            "num_heads contradicts the export",
            where=path,
            got=num_heads,
            expected=architecture.num_heads,
            hint="leave num_heads out",
        )
    return architecture
