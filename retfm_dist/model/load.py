"""Strict loading of published weights into a model."""

from pathlib import Path

from torch import nn

from retfm_dist.errors import ModelError
from retfm_dist.weights.compare import describe_mismatch, shapes_of
from retfm_dist.weights.read import read_weights_file


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the weights in `path` into `model`; every name and shape must match.

    Args:
        model: The masked autoencoder, decoder included.
        path: .safetensors, or .pth with the state dict itself or under "model".

    Raises:
        ModelError: The file is missing, unreadable, or not that of this model.
    """
    weights = read_weights_file(path).tensors
    expected = shapes_of(model.state_dict())
    if mismatch := describe_mismatch(shapes_of(weights), expected):
        raise ModelError(
            "these weights are not for this model",
            where=path,
            got=mismatch,
            expected=f"the {len(expected)} tensors of a masked autoencoder of the configured size",
            hint="a file without decoder cannot start pre-training: use the full one",
        )
    model.load_state_dict(weights, strict=True)
