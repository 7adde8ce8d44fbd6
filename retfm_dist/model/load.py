"""Start a model from published weights, strictly.

Takes a state dict of MAE's own names: a .safetensors file, or the .pth file of MAE, RETFound or our
export, which holds it under "model". Pickled code is never run.
"""

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from retfm_dist.errors import ModelError

_NAMES_SHOWN = 4


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the weights in `path` into `model`; every name and shape must match.

    Args:
        model: The masked autoencoder, decoder included.
        path: .safetensors, or .pth with the state dict itself or under "model".

    Raises:
        ModelError: The file is missing, unreadable, or not that of this model.
    """
    weights = read_state_dict(path)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = [
        *_list_names("missing", [name for name in wanted if name not in found]),
        *_list_names("unexpected", [name for name in found if name not in wanted]),
        *_list_names(
            "of another shape",
            [
                f"{name} {found[name]} instead of {shape}"
                for name, shape in wanted.items()
                if name in found and found[name] != shape
            ],
        ),
    ]
    if problems:
        raise ModelError(
            "these weights are not for this model",
            where=path,
            got="; ".join(problems),
            expected=f"the {len(wanted)} tensors of a masked autoencoder of the configured size",
            hint="a file without decoder cannot start pre-training: use the full one",
        )
    model.load_state_dict(dict(weights), strict=True)


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a weights file without running any code in it.

    Raises:
        ModelError: The file is missing, unreadable, or holds something else than tensors.
    """
    if not path.is_file():
        raise ModelError(
            "no such weights file",
            where=path,
            hint="put the file there, or set run.init_from=null to start from random weights",
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Training scripts of MAE and RETFound store their arguments beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError("cannot read the weights", where=path, got=reason) from error
    weights = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not all(
        isinstance(tensor, Tensor) for tensor in weights.values()
    ):
        raise ModelError(
            "no state dict in this file", where=path, expected='tensors by name, or under "model"'
        )
    return weights


def _list_names(heading: str, names: list[str]) -> list[str]:
    """Return one clause that names the first few, or nothing."""
    if not names:
        return []
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return [f"{len(names)} {heading}: {', '.join(names[:_NAMES_SHOWN])}{more}"]
