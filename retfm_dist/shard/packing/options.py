"""Options of a build, checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retfm_dist.errors import ShardError
from retfm_dist.workers import usable_cores

MIN_SIZE_PX, MAX_SIZE_PX = 32, 8192
QUARANTINED = ("frame", "strokes")
DUPLICATE_POLICIES = ("exact", "near", "refuse")


@dataclass(frozen=True)
class BuildOptions:
    """How a shard set is built.

    Attributes:
        images_dir: Directory that the table's image paths are relative to.
        salt: Secret key of the pseudonyms.
        size: Side of the packed squares, px; smaller ones are not enlarged.
        quality: JPEG quality, 1 to 100.
        shard_mb: Size of a tar, 10^6 bytes.
        seed: Seed of the order of the set.
        max_reject_ratio: Largest share of the table's images that may be unusable.
        accept: Kinds of pictures to pack that are otherwise put in quarantine: "frame" has no
            round outline, "strokes" has bright strokes across it.
        modalities: Modalities to pack, in the table's spelling, lower case; a picture without one
            counts as asked for.
        duplicates: "exact" leaves out later rows of the same content and reports near duplicates,
            "near" leaves out both, "refuse" makes no set where either are of different patients
            or have different labels.
        workers: Worker processes.
        image_timeout_s: Longest that one photograph may take; None waits for ever and, with one
            worker, packs in this process.
    """

    images_dir: Path
    salt: bytes = field(repr=False)
    size: int = 512
    quality: int = 95
    shard_mb: float = 256
    seed: int = 0
    max_reject_ratio: float = 0.01
    accept: Sequence[str] = ()
    modalities: Sequence[str] = ("cfp",)
    duplicates: str = "exact"
    workers: int = field(default_factory=usable_cores)
    image_timeout_s: float | None = 60

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        ranges = {
            "size": (MIN_SIZE_PX, MAX_SIZE_PX),
            "quality": (1, 100),
            "shard_mb": (0.001, 1_000_000),
            "seed": (0, 2**63 - 1),
            "max_reject_ratio": (0, 1),
            "workers": (1, 4096),
            "image_timeout_s": (0.1, 86_400),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ShardError(f"{name} is out of range", got=value, expected=f"{low} to {high}")
        _check_choice("duplicates", self.duplicates, DUPLICATE_POLICIES)
        for kind in self.accept:
            _check_choice("accept", kind, QUARANTINED)
        if not self.images_dir.is_dir():
            raise ShardError("the image directory does not exist", where=self.images_dir)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ShardError(f"unknown value of {name}", got=value, expected=" or ".join(choices))
