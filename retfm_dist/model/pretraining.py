"""The masked autoencoder of a pre-training run, with all that training asks of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retfm_dist.config.schema import PretrainConfig
from retfm_dist.model.attention import kernels_for, shape_name
from retfm_dist.model.flops import train_flops_per_image
from retfm_dist.model.load import start_from
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from retfm_dist.model.reconstruct import reconstruction_panel


@dataclass(frozen=True)
class PretrainingModel:
    """A masked autoencoder that has no weights yet.

    Attributes:
        module: The model, on the CPU in fp32.
        initialize: Gives the module its first weights, those of `run.init_from` or random ones.
        draw: (images uint8 [B, 3, S, S], noise [B, L]) -> picture uint8 [H, W, 3].
        flops_per_image: Operations of the reference model's training step on one image.
        compile: Compiles the module's blocks.
        attention: device -> names of the attention kernels that it may use, by shape.
    """

    module: MaskedAutoencoder
    initialize: Callable[[], object]
    draw: Callable[[Tensor, Tensor], NDArray[np.uint8]]
    flops_per_image: int
    compile: Callable[[], None]
    attention: Callable[[torch.device], str]


def build_pretraining_model(config: PretrainConfig) -> PretrainingModel:
    """Build the model of a run; no file is read before `initialize` is called."""
    module = MaskedAutoencoder(config.model)
    module.attention_kernel = config.engine.attention
    if config.run.init_from is None:
        initialize = partial(init_weights, module, config.run.seed)
    else:
        initialize = partial(start_from, module, config.run.init_from, seed=config.run.seed)
    return PretrainingModel(
        module,
        initialize,
        draw=partial(reconstruction_panel, module),
        flops_per_image=train_flops_per_image(config.model),
        compile=module.compile_blocks,
        attention=partial(_describe_attention, config),
    )


def _describe_attention(config: PretrainConfig, device: torch.device) -> str:
    """Return each shape of attention and what may compute it, as "50x64 flash, 197x32 math"."""
    model = config.model
    dtype = torch.bfloat16 if config.engine.precision == "bf16" else torch.float32
    shapes = (
        (1 + model.num_kept, model.embed_dim // model.num_heads),
        (1 + model.num_patches, model.decoder_embed_dim // model.decoder_num_heads),
    )
    chosen = config.engine.attention
    return ", ".join(
        f"{shape_name(*shape)} "
        + " or ".join((chosen,) if chosen else kernels_for(device, dtype, *shape))
        for shape in shapes
    )
