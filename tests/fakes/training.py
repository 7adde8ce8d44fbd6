"""A tiny model, a loader without files and a config, for tests of training."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from retfm_dist.config import PretrainConfig
from retfm_dist.config.load import check_config
from retfm_dist.data.faults import Replacement
from retfm_dist.errors import DataError
from retfm_dist.ranks.agreement import gather_each
from retfm_dist.ranks.world import Ranks
from retfm_dist.rng.streams import mask_noise
from retfm_dist.train.engine.engine import Engine
from retfm_dist.train.fit import fit
from retfm_dist.train.schedule import plan_run
from retfm_dist.train.start import StartRequest

WIDTH = 12
STEPS_PER_EPOCH = 4


class TinyOutput(NamedTuple):
    loss: torch.Tensor
    pred: torch.Tensor


class TinyMae(nn.Module):
    """The shapes of a masked autoencoder (tokens, tables, masks), at toy size."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator) * 0.3

        self.cls_token = nn.Parameter(normal(1, 1, WIDTH))
        self.mask_token = nn.Parameter(normal(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(normal(1, 4, WIDTH), requires_grad=False)
        self.encoder = nn.Linear(WIDTH, 25)
        self.norm = nn.LayerNorm(25)
        self.decoder = nn.Linear(25, WIDTH)
        with torch.no_grad():
            for layer in (self.encoder, self.decoder):
                layer.weight.copy_(normal(*layer.weight.shape))
                layer.bias.zero_()

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> TinyOutput:
        # [B, 3, 4, 4] -> [B, 4, 12]
        target = images.reshape(len(images), 4, WIDTH).to(self.cls_token.dtype) / 255
        removed = (noise > 0.5)[..., None]
        tokens = torch.where(removed, self.mask_token, target) + self.pos_embed
        pred = self.decoder(self.norm(self.encoder(tokens + self.cls_token)))
        return TinyOutput((pred - target).float().square().mean(), pred)


def draw_nothing(images: torch.Tensor, noise: torch.Tensor) -> np.ndarray:
    return np.zeros((4, 12, 3), np.uint8)


@dataclasses.dataclass
class FakeModel:
    """A tiny model and what training asks of it."""

    module: nn.Module
    initialize: Callable[[], None] = lambda: None
    draw: Callable[[torch.Tensor, torch.Tensor], np.ndarray] = draw_nothing
    flops_per_image: int = 1_000_000
    compile: Callable[[], None] = lambda: None
    attention: Callable[[torch.device], str] = lambda device: "5x12 math"


@dataclasses.dataclass(frozen=True)
class FakeBatch:
    images: torch.Tensor
    uids: torch.Tensor
    step: int
    micro_step: int
    epoch: int
    replaced: tuple[Replacement, ...] = ()

    @property
    def keys(self) -> torch.Tensor:
        return self.uids


class FakeLoader:
    """Random images as a pure function of the step, dealt to ranks and micro-steps."""

    def __init__(
        self,
        config: PretrainConfig,
        ranks: Ranks,
        *,
        bad_steps: dict[int, int] | None = None,
        replaced: dict[int, int] | None = None,
        step_s: float = 0.0,
    ) -> None:
        self._config = config
        self._ranks = ranks
        self._bad_steps = bad_steps or {}
        self._replaced = replaced or {}
        self._step_s = step_s
        self.is_open = True
        self.has_gone = False
        self.fingerprint = "images of a test"
        self.steps_per_epoch = STEPS_PER_EPOCH
        self.num_samples = STEPS_PER_EPOCH * config.schedule.global_batch_size

    def state(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint}

    def is_there(self) -> bool:
        return not self.has_gone

    def check_state(self, state: dict[str, Any]) -> None:
        if state != self.state():
            raise DataError("other images", got=self.state(), expected=state)

    def batches(self, start_step: int, end_step: int) -> Generator[FakeBatch, None, None]:
        size = self._config.schedule.global_batch_size
        micro = self._config.schedule.micro_batch_size
        for step in range(start_step, end_step):
            time.sleep(self._step_s)
            generator = torch.Generator().manual_seed(1000 + step)
            images = torch.randint(0, 256, (size, 3, 4, 4), generator=generator, dtype=torch.uint8)
            uids = torch.arange(step * size, (step + 1) * size)
            for micro_step in range(self._config.grad_accum_steps(self._ranks.world_size)):
                first = (micro_step * self._ranks.world_size + self._ranks.rank) * micro
                mine = slice(first, first + micro)
                epoch = step // STEPS_PER_EPOCH
                told = self._replacements(step) if micro_step == 0 else ()
                yield FakeBatch(images[mine], uids[mine], step, micro_step, epoch, told)

    def _replacements(self, step: int) -> tuple[Replacement, ...]:
        return tuple(
            Replacement(f"{step:08x}{row:08x}", f"00000{row}.tar", row, "damaged", "0" * 16)
            for row in range(self._replaced.get(step, 0))
        )

    def cohort(self) -> dict[str, Any] | None:
        return {"dataset_fingerprint": self.fingerprint, "composition": {"num_images": 32}}

    def write_membership(self, path: Path) -> None:
        path.write_bytes(b"members")

    def timings(self) -> dict[str, float]:
        return {"wait_s": 0.0, "read_s": 0.0, "decode_s": 0.0}

    def close(self) -> None:
        self.is_open = False


def tiny_config(run_dir: Path | str, **changes: Any) -> PretrainConfig:
    """A complete config; `changes` are "section__field" = value."""
    values: dict[str, Any] = {
        # The watchdog of a hanging run would end the pytest process without a message.
        "run": {"dir": str(run_dir), "seed": 3, "init_from": None, "stall_timeout_s": None},
        "data": {"shards": "nowhere", "crop_scale": [0.2, 1.0]},
        "model": {
            "img_size": 4, "patch_size": 2, "embed_dim": WIDTH, "depth": 1, "num_heads": 1,
            "decoder_embed_dim": WIDTH, "decoder_depth": 1, "decoder_num_heads": 1,
            "mask_ratio": 0.5, "norm_pix_loss": True,
        },
        "optimizer": {"base_lr": 0.3, "weight_decay": 0.05},
        "schedule": {
            "duration": "6 steps", "warmup": "2 steps", "global_batch_size": 8,
            "micro_batch_size": 4,
        },
        "engine": {"zero_stage": 1, "precision": "fp32"},
        "checkpoint": {"every": "2 steps", "keep_last": 2},
        "log": {"every": "1 steps", "reconstructions_every": "0 steps"},
        "tracking": {"mlflow": False},
    }  # fmt: skip
    for name, value in changes.items():
        section, field = name.split("__")
        values.setdefault(section, {})[field] = value
    return check_config(values, PretrainConfig, where="test")


OFFLOADED = "offloaded"
"""In place of a ZeRO stage: 2, with the optimizer in host memory."""


ON_DISK = "on disk"
"""The same, in files."""


def sharding(stage: int | str) -> dict[str, Any]:
    """Return the changes of `tiny_config` for a ZeRO stage, `OFFLOADED` or `ON_DISK`."""
    if stage == OFFLOADED:
        return {"engine__zero_stage": 2, "engine__offload_optimizer": True}
    if stage == ON_DISK:
        return {**sharding(OFFLOADED), "engine__offload_dir": tempfile.gettempdir()}
    return {"engine__zero_stage": stage}


def batches_of(
    config: PretrainConfig, ranks: Ranks, step: int
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """Yield images and noise of one rank's micro-batches of a step."""
    for batch in FakeLoader(config, ranks).batches(step, step + 1):
        yield batch.images, mask_noise(config.run.seed, batch.epoch, batch.uids, 4)


def accumulate(
    engine: Engine, config: PretrainConfig, ranks: Ranks, step: int
) -> list[torch.Tensor]:
    """Take the gradients of a step's micro-batches and return their losses."""
    micro = list(batches_of(config, ranks, step))
    return [
        engine.forward_backward(*inputs, is_last=index == len(micro) - 1)
        for index, inputs in enumerate(micro)
    ]


def run_steps(
    engine: Engine, config: PretrainConfig, ranks: Ranks, steps: Iterable[int]
) -> list[float]:
    """Make the given steps and return this rank's losses."""
    plan = plan_run(config, steps_per_epoch=STEPS_PER_EPOCH)
    losses = []
    for step in steps:
        parts = accumulate(engine, config, ranks, step)
        norm = gather_each(engine.squared_gradient_norm()).sum().sqrt()
        assert engine.update(plan.lr(step), norm=norm, is_sound=torch.isfinite(norm))
        losses.append(float(sum(parts)) / len(parts))
    return losses


class PowerCutError(Exception):
    """The end of a run in the middle."""


def run_fit(
    config: PretrainConfig,
    *,
    build_model: Callable[[], FakeModel] = lambda: FakeModel(TinyMae()),
    loader: FakeLoader | None = None,
    cut_at: int | None = None,
    **request: Any,
) -> None:
    """Run on one rank to the end, or until the loader is asked for step `cut_at`."""
    loader = loader or FakeLoader(config, Ranks())
    whole = loader.batches

    def batches(start_step: int, end_step: int) -> Generator[FakeBatch, None, None]:
        for batch in whole(start_step, end_step):
            if batch.step == cut_at:
                raise PowerCutError
            yield batch

    loader.batches = batches
    try:
        fit(
            config,
            build_model=build_model,
            build_loader=lambda: loader,
            ranks=Ranks(),
            device=torch.device("cpu"),
            request=StartRequest(**request),
        )
    except PowerCutError:
        assert cut_at is not None
