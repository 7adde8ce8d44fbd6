"""Load an exported encoder, or one from a plain MAE or RETFound file, strictly.

Nothing is renamed, interpolated or left out silently: a tensor that is missing, superfluous or of
another shape is an error that names it. No code in a file is ever run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import torch
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
from retfm_dist.model.load import read_state_dict

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
PROVENANCE_NAME = "provenance.json"


def load_encoder(
    path: Path, *, num_heads: int | None = None
) -> tuple[VisionTransformer, Preprocessing]:
    """Load an encoder in eval mode, in fp32, on the CPU.

    Its output is [B, embed_dim]: the final norm of all tokens, averaged over the patch tokens.

    Args:
        path: Export directory, or a MAE or RETFound state dict (.pth or .safetensors).
        num_heads: Attention heads of a file whose width is not that of ViT-S, B, L or H; an
            export directory states its own.

    Raises:
        ExportError: Something is missing or does not fit.
        ModelError: The file is damaged or holds no state dict.
    """
    if path.is_dir():
        _check_is_export(path)
        verify_export(path, names=(WEIGHTS_NAME, CONFIG_NAME))
    state = _read_encoder_state(path)
    architecture = (
        _read_config(path)
        if path.is_dir()
        else architecture_of(state, num_heads=num_heads, where=path)
    )
    model = build_encoder(architecture)
    _fill(model, state, where=path)
    return model.eval(), Preprocessing(img_size=architecture.img_size)


def read_architecture(path: Path, *, num_heads: int | None = None) -> Architecture:
    """Return the dimensions of an export directory or of a MAE state dict file.

    Args:
        path: As for `load_encoder`.
        num_heads: As for `load_encoder`.

    Raises:
        ExportError: As `load_encoder`.
        ModelError: As `load_encoder`.
    """
    if path.is_dir():
        _check_is_export(path)
        verify_export(path, names=(CONFIG_NAME,))
        return _read_config(path)
    return architecture_of(_read_encoder_state(path), num_heads=num_heads, where=path)


def weights_path(path: Path) -> Path:
    """Return the file that holds an encoder's weights: in an export directory, or `path` itself."""
    return path / WEIGHTS_NAME if path.is_dir() else path


def verify_export(export_dir: Path, *, names: Sequence[str] | None = None) -> None:
    """Check the files of an export directory against the sha256 in its provenance.

    Args:
        export_dir: The directory.
        names: Files to check; None is every one.

    Raises:
        ExportError: A file is missing or differs, or there is no usable provenance.
    """
    provenance_path = export_dir / PROVENANCE_NAME
    if not provenance_path.is_file():
        raise ExportError(
            f"no {PROVENANCE_NAME}",
            where=export_dir,
            hint="the export is incomplete; write it anew",
        )
    try:
        digests = json.loads(provenance_path.read_text(encoding="utf-8"))["files"]
        wanted = {name: digests[name] for name in (digests if names is None else names)}
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            "damaged provenance", where=provenance_path, hint="write the export anew"
        ) from error
    for name, expected in wanted.items():
        path = export_dir / name
        if not path.is_file():
            raise ExportError("file is missing", where=path, hint="write the export anew")
        if (found := sha256_file(path)) != expected:
            raise ExportError(
                "file is damaged or was changed",
                where=path,
                got=f"sha256 {found}",
                expected=expected,
                hint="write the export anew",
            )


def _read_encoder_state(path: Path) -> dict[str, torch.Tensor]:
    """Read the encoder's tensors in fp32."""
    _check_is_export(path)
    file = weights_path(path)
    state = encoder_state(read_state_dict(file))
    return {name: tensor.float() for name, tensor in state.items()}


def _check_is_export(path: Path) -> None:
    """Refuse a path that holds no weights."""
    if not weights_path(path).is_file():
        raise ExportError(
            "no exported model here",
            where=path,
            expected=WEIGHTS_NAME if path.is_dir() else "an export directory or a .pth file",
            hint="write one with python -m retfm_dist.export RUN_DIR --out EXPORT_DIR",
        )


def _read_config(export_dir: Path) -> Architecture:
    """Read the dimensions that an export's config.json states."""
    path = export_dir / CONFIG_NAME
    try:
        model_args = json.loads(path.read_text(encoding="utf-8"))["model_args"]
        return Architecture(
            **{field.name: model_args[field.name] for field in fields(Architecture)}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            "not the config of an export",
            where=path,
            got=f"{type(error).__name__}: {error}",
            hint="write the export anew",
        ) from error


def _fill(model: VisionTransformer, state: Mapping[str, torch.Tensor], *, where: Path) -> None:
    """Copy a state dict into a model; names and shapes must agree exactly."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for names, what in (
        (sorted(wanted.keys() - given.keys()), "tensors are missing"),
        (sorted(given.keys() - wanted.keys()), "tensors are unknown to the encoder"),
    ):
        if names:
            shown = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
            raise ExportError(f"{len(names)} {what}", where=where, got=shown)
    for name, shape in wanted.items():
        if given[name] != shape:
            raise ExportError(
                f"tensor {name} has another shape", where=where, got=given[name], expected=shape
            )
    model.load_state_dict(dict(state), strict=True)
