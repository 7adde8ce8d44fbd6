"""Schema of the section `data`: which shard sets are read, in which order and how."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from typing_extensions import Self

from retfm_dist.config.paths import ConfigPath, ShardAddress
from retfm_dist.config.section import Fraction, Positive, Section


class ShardSource(Section):
    """A shard set that is mixed with others."""

    path: ShardAddress
    """Directory of the set, or the address of one in an object store."""
    weight: Annotated[float, Field(gt=0)]
    """Its share of every epoch; only the ratios of weights count."""


class DataConfig(Section):
    """Which shard sets are read, in which order, and how their images are augmented."""

    shards: Annotated[
        Annotated[ShardAddress, Tag("set")] | Annotated[tuple[ShardSource, ...], Tag("mix")],
        Discriminator(lambda value: "mix" if isinstance(value, list | tuple) else "set"),
    ]
    """Shard set, as written by `python -m retfm_dist.shard build` or `index`: a directory, or an
    address such as s3://bucket/set; or a list of {path, weight} to mix."""
    lanes: Positive = 1
    """Parts of an epoch that are read side by side; divides the global batch. With `window` it
    bounds the tars that are read at a time, for sets in an object store; 1 is best on disks."""
    window: Annotated[int, Field(ge=2)] | None = None
    """Samples of a lane that are shuffled together; null shuffles whole lanes."""
    exclude_uids: ConfigPath | None = None
    """Text file of uids, one a line, that are never trained on; another image takes the place of
    each, and all others keep theirs. `--exclude-uids FILE` sets it."""
    max_bad_ratio: Fraction = 0.001
    """Share of an epoch's images that may be unreadable or damaged and are replaced, and at least
    one; when there are more, all ranks save and stop. 0 stops at the first."""
    read_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Longest that storage may take to answer, retries included; the images of a tar that does not
    answer are replaced, and a run ends when no tar answers. null is 30 s, or half of
    run.stall_timeout_s where that is less."""
    cache_dir: ConfigPath | None = None
    """Where tars of an object store are kept, shared by the ranks of a host; null is
    retfm_dist/shards in $XDG_CACHE_HOME or ~/.cache."""
    cache_gb: Annotated[float, Field(gt=0)] = 100.0
    """Space for them, GB; the least recently used go first."""
    crop_scale: tuple[Fraction, Fraction]
    """Smallest and largest share of the image's area that a random crop covers; MAE: 0.2, 1.0."""
    crop_ratio: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (3 / 4, 4 / 3)
    """Smallest and largest width/height of a random crop; torchvision and MAE: 3/4, 4/3."""
    flip_probability: Fraction = 0.5
    """Probability of a horizontal flip; MAE: 0.5."""
    backend: Literal["auto", "cpu", "gpu"] = "auto"
    """Where JPEGs are decoded; "auto" is "gpu" where the rank trains on one."""
    jpeg_engines: bool = True
    """Whether the JPEG engines of a GPU decode, where it has some (A100 and later), and not CUDA;
    `python -m benchmarks.decode` says which is faster."""
    decode_threads: Positive = 2
    """DALI threads per rank."""
    prefetch_batches: Annotated[int, Field(ge=1, le=16)] = 3
    """Micro-batches prepared ahead of the training step."""
    log_uids: bool = False
    """Whether every rank writes the uids of its batches to uids/rank_NNNN.jsonl."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Directories or addresses of the shard sets, one or several."""
        if isinstance(self.shards, tuple):
            return tuple(source.path for source in self.shards)
        return (self.shards,)

    @property
    def weights(self) -> tuple[float, ...]:
        """Share of each set; none where a single one is read."""
        if isinstance(self.shards, tuple):
            return tuple(source.weight for source in self.shards)
        return ()

    @field_validator("shards")
    @classmethod
    def _is_not_empty(cls, value: object) -> object:
        if value == ():
            raise ValueError("shards must name at least one set, got an empty list")
        return value

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(
                    f"{name} must be two ascending numbers above 0, got [{low}, {high}]"
                )
        return self
