"""Schema of a pre-training config, section by section.

All sections are frozen and refuse unknown keys. Nothing that defines the experiment (data, model,
learning rate, batch, length, seed) has a default: a YAML file states its run in full.
"""

import math
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from retfm_dist.config.data import DataConfig
from retfm_dist.config.durations import Duration, SaveEvery
from retfm_dist.config.engine import EngineConfig
from retfm_dist.config.paths import ConfigPath, StoreAddress
from retfm_dist.config.section import Positive, Section
from retfm_dist.errors import ConfigError


def _dir_may_be_left_out(schema: dict[str, Any]) -> None:
    """Tell editors what `load_config` allows: a config file's name gives the run directory."""
    schema["required"].remove("dir")


_READ_TIMEOUT_S = 30.0


class RunConfig(Section):
    """Run directory, seed and initial weights."""

    model_config = ConfigDict(json_schema_extra=_dir_may_be_left_out)

    dir: ConfigPath
    """Run directory (config.yaml, metrics.jsonl, checkpoints/, DONE); left out, it is
    runs/NAME for a config file NAME.yaml."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Seed of initialization, sample order, augmentation and masks."""
    init_from: ConfigPath | None
    """Weights to start from: a state dict of MAE's names as .safetensors, or as the .pth file of
    MAE or RETFound; of an encoder alone, as timm's, the decoder starts at random. Null starts from
    random weights."""
    time_limit_hours: Annotated[float, Field(gt=0)] | None = None
    """Time after which a start saves and exits with code 75, for queues that end a job by its time;
    null is no limit. Leave room for a step and a checkpoint."""
    stall_timeout_s: Annotated[float, Field(ge=5)] | None = 60.0
    """Time without progress after which a rank is named and the job ends; ten times that while it
    starts or saves. It must be longer than a micro-batch takes; null never ends a job."""

    collective_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Longest that ranks wait for each other in a collective, and at the start; a rank that stands
    still is found sooner by stall_timeout_s."""

    @property
    def name(self) -> str:
        """Name of the run in the tracker: that of its directory."""
        return self.dir.name


class ModelConfig(Section):
    """Dimensions and mask of the masked autoencoder.

    Source: He et al. 2022, arXiv:2111.06377, whose code uses the same names.
    """

    img_size: Positive
    """Side of the square input, px."""
    patch_size: Positive
    """Side of a patch, px; divides img_size."""
    embed_dim: Positive
    """Width of the encoder."""
    depth: Positive
    """Number of encoder blocks."""
    num_heads: Positive
    """Attention heads of an encoder block; divides embed_dim."""
    decoder_embed_dim: Positive
    """Width of the decoder."""
    decoder_depth: Positive
    """Number of decoder blocks."""
    decoder_num_heads: Positive
    """Attention heads of a decoder block; divides decoder_embed_dim."""
    mask_ratio: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Share of the patches hidden from the encoder; color fundus photographs: 0.75."""
    norm_pix_loss: bool
    """Whether each target patch is normalized by its own mean and variance; MAE: true."""
    mask: Literal["random", "block", "grid"] = "random"
    """Which patches are hidden: any, patches that lie together, or the same share of every 2 x 2;
    MAE: random, which it compares with the others in table 1 (f)."""
    loss_outside: bool = True
    """Whether hidden patches that are black all over, outside of the field of view, count in the
    loss; MAE: true."""

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        if self.img_size % self.patch_size:
            raise ValueError(
                f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}"
            )
        for width, heads in (
            ("embed_dim", "num_heads"),
            ("decoder_embed_dim", "decoder_num_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{heads} {getattr(self, heads)} does not divide {width} {getattr(self, width)}"
                )
            if getattr(self, width) % 4:
                raise ValueError(
                    f"{width} {getattr(self, width)} is not a multiple of 4 (2-D sine tables)"
                )
        if not 0 < self.num_kept < self.num_patches:
            raise ValueError(
                f"mask_ratio {self.mask_ratio} keeps {self.num_kept} of {self.num_patches} "
                "patches; at least one must be kept and one removed"
            )
        return self

    @property
    def grid_size(self) -> int:
        """Patches per side of an image."""
        return self.img_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """Number of patches per image, L."""
        return self.grid_size**2

    @property
    def num_kept(self) -> int:
        """Patches per image that the encoder sees, K = floor(L * (1 - mask_ratio)).

        In floating point, as published: 49 of 196 at 0.75.
        """
        return int(self.num_patches * (1 - self.mask_ratio))


class OptimizerConfig(Section):
    """AdamW, as MAE sets it."""

    base_lr: Annotated[float, Field(gt=0)]
    """Learning rate per 256 images of global batch; MAE: 1.5e-4."""
    min_lr: Annotated[float, Field(ge=0)] = 0.0
    """Learning rate at the end of the cosine."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    """Decay rates of AdamW's moments; MAE: 0.9, 0.95."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's epsilon; PyTorch's and MAE's: 1e-8."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay of tensors of two and more dimensions; MAE: 0.05."""
    gradient_clipping: Annotated[float, Field(ge=0)] = 0.0
    """Largest global gradient norm; 0 is off, as in MAE."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a running mean of the weights, such as 0.9999, which `export --average` takes in
    their place; it needs as much memory as one of the moments. Null keeps none, as in MAE."""


class ScheduleConfig(Section):
    """How long, how many images a step, and how the learning rate warms up."""

    duration: Duration
    """Length of the run; the paper: "800 epochs"."""
    warmup: Duration
    """Length of the linear warm-up from 0; within `duration`."""
    global_batch_size: Positive
    """Images per optimizer step over all ranks; the paper: 1792."""
    micro_batch_size: Positive
    """Images per rank per forward pass; accumulation follows from it and the number of ranks."""

    @model_validator(mode="after")
    def _micro_batch_divides(self) -> Self:
        if self.global_batch_size % self.micro_batch_size:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not a multiple of "
                f"micro_batch_size {self.micro_batch_size}"
            )
        return self


class StabilityConfig(Section):
    """What happens when a step is not finite or its loss is a spike: it changes no weight."""

    skips_before_rollback: Positive = 3
    """Bad steps in a row after which the run goes back to a checkpoint and passes over a window."""
    rollback_margin: Annotated[int, Field(ge=0)] = 100
    """Steps before the first bad one that are passed over too."""
    max_rollbacks: Annotated[int, Field(ge=0)] = 3
    """Rollbacks of a run after which bad steps in a row end it."""
    judge_every: Positive = 8
    """Steps between two looks at the losses. A bad step changes no weight in any case; the host
    learns of it so many steps later at most, and waits for no step."""
    spike_deviations: Annotated[float, Field(gt=0)] | None = None
    """A loss that is so many robust standard deviations above the median of the last sound ones is
    a spike; null looks for none."""
    spike_history: Annotated[int, Field(ge=4)] = 64
    """Sound losses that the median is taken of."""
    skip_steps: tuple[tuple[int, int], ...] = ()
    """Windows [begin, end) of 0-based steps to pass over, such as [[1180, 1203]]."""

    @field_validator("skip_steps")
    @classmethod
    def _windows_ascend(cls, windows: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        for begin, end in windows:
            if not 0 <= begin < end:
                raise ValueError(f"skip_steps must be windows [begin, end), got [{begin}, {end}]")
        return windows


class CheckpointConfig(Section):
    """When the run's state is saved and how much of it is kept."""

    every: SaveEvery
    """Interval between checkpoints: a length of training, a time ("30 minutes"), "auto" (what
    loses the least, from the measured cost and hours_between_failures) or "continuous" (again as
    soon as the one before is written). The last step is always saved."""
    max_lost: Duration | None = None
    """Most work that a failure may cost, at least `every`, which must be a length of training then:
    training waits for the checkpoint that is being written rather than go further from the newest
    complete one. null never waits: what is trained during a write comes on top of `every`."""
    hours_between_failures: Annotated[float, Field(gt=0)] = 24.0
    """Mean time between failures of the whole job, for "auto"."""
    keep_last: Positive = 2
    """Number of newest complete checkpoints kept."""
    keep_every: Duration | None = None
    """Checkpoints after a multiple of this length are kept for ever, so far as they are saved: let
    it be a multiple of `every`; null keeps none."""
    copy_to: StoreAddress | None = None
    """Place in an object store, such as s3://bucket/run, to which complete checkpoints and the
    run's records are copied beside training. A run directory without a checkpoint goes on from the
    newest one there. A place holds one run; null copies nothing."""


class LogConfig(Section):
    """When metrics and pictures are written."""

    every: Duration
    """Interval between lines of metrics.jsonl."""
    reconstructions_every: Duration
    """Interval between reconstruction pictures; "0 steps" is never."""
    num_reconstructions: Positive = 8
    """Images in a reconstruction picture. They are patient data: they stay in the run directory."""
    profile_steps: tuple[int, int] | None = None
    """Window [begin, end) of 0-based steps that are profiled into profile/: a Chrome trace and a
    table of where their time goes; null profiles none."""

    @field_validator("profile_steps")
    @classmethod
    def _window_ascends(cls, window: tuple[int, int] | None) -> tuple[int, int] | None:
        if window is not None and not 0 <= window[0] < window[1]:
            raise ValueError(f"profile_steps must be a window [begin, end), got {list(window)}")
        return window


class TrackingConfig(Section):
    """MLflow."""

    mlflow: bool = True
    """Whether metrics go to MLflow beside metrics.jsonl."""
    uri: str | None = None
    """Tracking server; none is an sqlite file beside the run directory."""
    experiment: str = "retfm_dist"
    """MLflow experiment."""

    @model_validator(mode="after")
    def _uri_holds_no_secret(self) -> Self:
        if self.uri is not None and "@" in urlsplit(self.uri).netloc:
            raise ValueError(
                "uri must not hold a user name or password, because the config is stored with the "
                "run; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        return self


class PretrainConfig(Section):
    """A pre-training run."""

    run: RunConfig
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    engine: EngineConfig
    stability: StabilityConfig = StabilityConfig()
    checkpoint: CheckpointConfig
    log: LogConfig
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _lanes_divide(self) -> Self:
        if self.schedule.global_batch_size % self.data.lanes:
            raise ValueError(
                f"data.lanes {self.data.lanes} does not divide schedule.global_batch_size "
                f"{self.schedule.global_batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _storage_answers_before_a_stall(self) -> Self:
        stall_s = self.run.stall_timeout_s
        if stall_s is not None and self.read_timeout_s >= stall_s:
            raise ValueError(
                f"data.read_timeout_s {self.read_timeout_s:g} must be shorter than "
                f"run.stall_timeout_s {stall_s:g}, which would end the run first"
            )
        return self

    @property
    def read_timeout_s(self) -> float:
        """Longest that storage may take to answer."""
        if self.data.read_timeout_s is not None:
            return self.data.read_timeout_s
        return min(_READ_TIMEOUT_S, (self.run.stall_timeout_s or math.inf) / 2)

    @property
    def lr(self) -> float:
        """Peak learning rate: base_lr * global_batch_size / 256.

        Source: Goyal et al. 2017, arXiv:1706.02677, as used by He et al. 2022, arXiv:2111.06377.
        """
        return self.optimizer.base_lr * self.schedule.global_batch_size / 256

    def grad_accum_steps(self, world_size: int) -> int:
        """Return the forward passes per rank and step that make up the global batch.

        Args:
            world_size: Number of ranks, accepted by `check_world`.
        """
        return self.schedule.global_batch_size // (self.schedule.micro_batch_size * world_size)

    def check_world(self, world_size: int) -> None:
        """Refuse a number of ranks among which the global batch does not divide.

        Raises:
            ConfigError: The ranks' micro-batches do not divide the global batch.
        """
        together = self.schedule.micro_batch_size * world_size
        if self.schedule.global_batch_size % together:
            raise ConfigError(
                "the batch does not divide",
                where="schedule.global_batch_size",
                got=f"{self.schedule.global_batch_size} on {world_size} ranks",
                expected=f"a multiple of micro_batch_size {self.schedule.micro_batch_size} x "
                f"{world_size} ranks = {together}",
                hint="change schedule.micro_batch_size or the number of ranks",
            )
