"""Start a model from published weights, and say what came of every tensor.

Full masked autoencoders (MAE, RETFound, our exports) are taken whole. Encoders alone (timm, our
exports) start with a decoder of random weights. Positions of another image size are computed anew
where they are the published waves, and interpolated where they were learned. Nothing else may be
missing, left over or of another shape.
"""

import logging
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from retfm_dist.errors import ModelError
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from retfm_dist.model.position import sincos_table
from retfm_dist.weights.compare import describe_mismatch, shapes_of
from retfm_dist.weights.read import WeightsFile, read_weights_file

_HEADS = ("head.weight", "head.bias")
"""Of a classifier on top of timm's encoders; pre-training has none."""
_TABLES = ("pos_embed", "decoder_pos_embed")
_SAME_TABLE = 1e-3
"""Largest difference of a table from the waves that it was stored as in bf16 or fp32."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartReport:
    """What came of the tensors of a weights file.

    Attributes:
        num_loaded: Tensors taken as they are.
        random: Tensors that the file lacks; their weights are random.
        recomputed: Position tables computed anew for another number of patches.
        interpolated: Learned position tables brought to another number of patches.
        ignored: Tensors of the file that a masked autoencoder has no place for.
    """

    num_loaded: int
    random: tuple[str, ...]
    recomputed: tuple[str, ...]
    interpolated: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def words(self) -> str:
        """The report in a line."""
        clauses = [f"{self.num_loaded} tensors loaded"]
        if self.random:
            clauses.append(f"no decoder in the file: its {len(self.random)} tensors are random")
        for words, names in (
            ("computed anew for this image size", self.recomputed),
            ("interpolated to this image size", self.interpolated),
            ("left out", self.ignored),
        ):
            if names:
                clauses.append(f"{words}: {', '.join(names)}")
        return "; ".join(clauses)


def start_from(model: MaskedAutoencoder, path: Path, *, seed: int) -> StartReport:
    """Give a model the weights in `path`, and log what came of them.

    Args:
        model: On the CPU.
        path: .safetensors, or .pth with the state dict itself or under "model".
        seed: Seed of the decoder's random weights where the file has no decoder.

    Raises:
        ModelError: The file is missing or unreadable, or not that of this model.
    """
    file = read_weights_file(path)
    _check_heads(model, file, path)
    tensors = dict(file.tensors)
    ignored = tuple(name for name in _HEADS if tensors.pop(name, None) is not None)
    recomputed, interpolated = _fit_tables(model, tensors)
    init_weights(model, seed)
    own = model.state_dict()
    random: tuple[str, ...] = ()
    if not any(_is_decoder(name) for name in tensors):
        random = tuple(name for name in own if _is_decoder(name))
        tensors |= {name: own[name] for name in random}
    if mismatch := describe_mismatch(shapes_of(tensors), shapes_of(own)):
        raise ModelError(
            "these weights are not for this model",
            where=path,
            got=mismatch,
            expected=f"the {len(own)} tensors of a masked autoencoder of the configured size, or "
            "those of its encoder",
        )
    model.load_state_dict(tensors, strict=True)
    num_loaded = len(own) - len(random) - len(recomputed) - len(interpolated)
    report = StartReport(num_loaded, random, recomputed, interpolated, ignored)
    logger.info("%s: %s", path, report.words)
    return report


def _is_decoder(name: str) -> bool:
    return name.startswith("decoder_") or name == "mask_token"


def _check_heads(model: MaskedAutoencoder, file: WeightsFile, path: Path) -> None:
    """Refuse weights of another number of attention heads, which no shape shows."""
    if file.num_heads is not None and file.num_heads != model.num_heads:
        raise ModelError(
            "these weights are not for this model",
            where=path,
            got=f"{file.num_heads} attention heads",
            expected=f"{model.num_heads}, as model.num_heads says",
        )


def _fit_tables(
    model: MaskedAutoencoder, tensors: dict[str, Tensor]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Bring position tables to the model's number of patches; names of those computed and not."""
    recomputed, interpolated = [], []
    for name in _TABLES:
        table, own = tensors.get(name), model.get_parameter(name)
        if table is None or table.ndim != 3 or table.shape[1] == own.shape[1]:
            continue
        grid = isqrt(table.shape[1] - 1)
        if 1 + grid**2 != table.shape[1] or table.shape[2] != own.shape[2]:
            continue  # Told of as a tensor of another shape.
        waves = sincos_table(grid, dim=table.shape[2])
        if (table[0].double() - waves).abs().max() < _SAME_TABLE:
            tensors[name] = sincos_table(model.grid_size, dim=table.shape[2]).to(own.dtype)[None]
            recomputed.append(name)
        else:
            size = [model.grid_size, model.grid_size]
            tensors[name] = resample_abs_pos_embed(table.to(own.dtype), new_size=size)
            interpolated.append(name)
    return tuple(recomputed), tuple(interpolated)
