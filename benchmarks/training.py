"""Steps of training for the benchmarks: ours, plain PyTorch's, DeepSpeed's; on equal weights."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from retfm_dist.config import PretrainConfig
from retfm_dist.config.schema import ModelConfig
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.engine.library import import_deepspeed
from retfm_dist.train.engine.optimizer import parameter_groups
from retfm_dist.train.step import Inputs, train_step

LR = 1e-4
NARROW = ModelConfig(
    img_size=32,
    patch_size=8,
    embed_dim=32,
    depth=24,
    num_heads=2,
    decoder_embed_dim=32,
    decoder_depth=8,
    decoder_num_heads=2,
    mask_ratio=0.75,
    norm_pix_loss=True,
)
"""The 398 tensors of a ViT-L at a width of 32: hardly anything is computed, the host limits."""

ALONE = Ranks()

Way = Callable[[], torch.Tensor]
"""A step of training that returns its loss, [] on the device."""


@dataclass(frozen=True)
class Setting:
    """How a step is made.

    Attributes:
        model: Dimensions.
        batch_size: Images of a rank's step, one micro-batch.
        precision: "bf16" or "fp32".
        zero_stage: ZeRO stage.
        compiled: Whether blocks are compiled.
        attention: Attention kernel; None is the table's.
    """

    model: ModelConfig
    batch_size: int
    precision: str = "fp32"
    zero_stage: int = 1
    compiled: bool = False
    attention: str | None = None

    def config(self, *, num_ranks: int = 1) -> PretrainConfig:
        """Return a run of this setting; every rank has a whole micro-batch."""
        return PretrainConfig.model_validate(
            {
                "run": {"dir": "unused", "seed": 0, "init_from": None},
                "data": {"shards": "unused", "crop_scale": [0.2, 1.0], "decode_threads": 1},
                "model": self.model.model_dump(),
                "optimizer": {"base_lr": LR, "weight_decay": 0.05},
                "schedule": {
                    "duration": "1 epochs",
                    "warmup": "0 steps",
                    "global_batch_size": self.batch_size * num_ranks,
                    "micro_batch_size": self.batch_size,
                },
                "engine": {"precision": self.precision, "zero_stage": self.zero_stage},
                "checkpoint": {"every": "1 epochs"},
                "log": {"every": "1 steps", "reconstructions_every": "0 steps"},
            }
        )

    def build(self) -> MaskedAutoencoder:
        """Return the model with its first weights."""
        model = MaskedAutoencoder(self.model)
        init_weights(model, seed=0)
        model.attention_kernel = self.attention
        if self.compiled:
            model.compile_blocks()
        return model


def draw_inputs(setting: Setting, device: torch.device) -> Inputs:
    """Return one micro-batch of random pixels; zeros would be computed faster than photographs."""
    generator = torch.Generator().manual_seed(0)
    side = setting.model.img_size
    shape = (setting.batch_size, 3, side, side)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    noise = torch.rand(setting.batch_size, setting.model.num_patches, generator=generator)
    return Inputs(images.to(device), noise.to(device), torch.arange(setting.batch_size))


def plain_way(setting: Setting, inputs: Inputs, device: torch.device) -> Way:
    """Return a step of plain PyTorch: autocast where it is bf16, fused AdamW, no wrapper."""
    model = setting.build().to(device)
    betas = setting.config().optimizer.betas
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=LR, betas=betas, fused=True)
    is_bf16 = setting.precision == "bf16"

    def step() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
            loss = model(inputs.images, inputs.noise).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


@contextlib.contextmanager
def our_way(
    setting: Setting, inputs: Inputs, device: torch.device, *, ranks: Ranks = ALONE
) -> Iterator[Way]:
    """Yield a step of ours: engine, verdict and update."""
    config = setting.config(num_ranks=ranks.world_size)
    engine = Engine(config, model=setting.build(), ranks=ranks, device=device)
    with contextlib.closing(engine):
        yield lambda: train_step(engine, [inputs], grad_accum_steps=1, lr=LR, limit=1e30).loss


def default_way(setting: Setting, inputs: Inputs) -> Way:
    """Return a step of DeepSpeed as its own defaults set it, in fp32."""
    model = setting.build()
    with contextlib.redirect_stdout(io.StringIO()):
        engine = import_deepspeed().initialize(
            model=model,
            optimizer=torch.optim.AdamW(parameter_groups(model, 0.05), lr=LR),
            config={
                "train_batch_size": setting.batch_size,
                "zero_optimization": {"stage": setting.zero_stage},
            },
            dist_init_required=False,
        )[0]

    def step() -> torch.Tensor:
        loss = engine(inputs.images, inputs.noise).loss
        engine.backward(loss)
        engine.step()
        return loss.detach()

    return step


def clock(
    way: Callable[[], object], *, steps: int, device: torch.device, wall: bool = False
) -> float:
    """Return the time of a step, s.

    Args:
        way: Makes the step.
        steps: How many are made.
        device: Where they compute; its time counts, or this process's CPU time where it is a CPU.
        wall: Whether the clock on the wall counts in any case, as where processes wait.
    """
    read = time.perf_counter if wall or device.type == "cuda" else time.process_time
    _wait_for(device)
    begun_at = read()
    for _ in range(steps):
        way()
    _wait_for(device)
    return (read() - begun_at) / steps


def take_turns(
    ways: dict[str, Way], *, steps: int, rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Return the times of a step of each way, one a round; two rounds warm up.

    Who begins alternates, because each finds the caches and the heap as the other left them.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(-2, rounds):
        for name, way in list(ways.items())[:: -1 if round_ % 2 else 1]:
            seconds = clock(way, steps=steps, device=device)
            if round_ >= 0:
                times[name].append(seconds)
    return times


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
