"""Build a shard set from the records of an archive table.

    pack     worker processes read, crop, shrink and encode; results come back in table order
    spool    packed images wait on disk until all are there and their order is known
    write    tars, indexes, table, rejects, composition; the manifest last

Everything happens in a temporary directory that takes the final name when it is complete. The
bytes of a set depend on the images, the table, the salt and the options, not on the number of
workers.
"""

import csv
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import PIL

from retfm_dist import __version__
from retfm_dist.cohort.composition import describe_composition, render_markdown
from retfm_dist.cohort.pseudonym import assign_pseudonyms, make_salt_id
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.console import track
from retfm_dist.durable import staged_directory, write_json, write_text
from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import write_manifest
from retfm_dist.shard.pack import PackedImage, PackTask, Rejection, pack_image
from retfm_dist.shard.sample import RESERVED_COLUMNS, make_sample
from retfm_dist.shard.spool import Spool
from retfm_dist.shard.write import list_files, write_shards
from retfm_dist.workers import map_in_order, usable_cores

logger = logging.getLogger(__name__)

MIN_SIZE_PX, MAX_SIZE_PX = 32, 8192


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
        workers: Worker processes.
    """

    images_dir: Path
    salt: bytes = field(repr=False)
    size: int = 512
    quality: int = 95
    shard_mb: float = 256
    seed: int = 0
    max_reject_ratio: float = 0.01
    workers: int = field(default_factory=usable_cores)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        ranges = {
            "size": (MIN_SIZE_PX, MAX_SIZE_PX),
            "quality": (1, 100),
            "shard_mb": (0.001, 1_000_000),
            "seed": (0, 2**63 - 1),
            "max_reject_ratio": (0, 1),
            "workers": (1, 4096),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ShardError(
                    f"{name} is out of range", got=getattr(self, name), expected=f"{low} to {high}"
                )
        if not self.images_dir.is_dir():
            raise ShardError("the image directory does not exist", where=self.images_dir)


@dataclass(frozen=True)
class BuildSummary:
    """Totals of a build.

    Attributes:
        num_records: Rows of the table.
        num_samples: Images packed.
        num_shards: Tars written.
        num_bytes: Their size together.
        num_frames: Packed images without a round outline, kept with all four corners.
        rejected: Number of images left out, by stage.
        fingerprint: The manifest's.
    """

    num_records: int
    num_samples: int
    num_shards: int
    num_bytes: int
    num_frames: int
    rejected: Mapping[str, int]
    fingerprint: str


@dataclass(frozen=True)
class Reject:
    """A row of rejects.csv: the table's row says which file it is, to those who hold the table.

    Attributes:
        row: Row of the archive table, 1-based, the header not counted.
        subject_id: Pseudonym of the patient.
        stage: Step that failed.
        reason: One clause.
    """

    row: int
    subject_id: str
    stage: str
    reason: str


@dataclass(frozen=True)
class _Packing:
    """Result of the packing pass, besides the spool."""

    records: Sequence[ImageRecord]
    rejects: Sequence[Reject]
    num_frames: int


def rejects_path(out_dir: Path) -> Path:
    """Return where the list of unusable images goes when there are too many of them."""
    return out_dir.with_name(f"{out_dir.name}.rejects.csv")


def build_shards(
    records: Sequence[ImageRecord], options: BuildOptions, out_dir: Path
) -> BuildSummary:
    """Pack the records' images into a new shard set.

    Args:
        records: Rows of an archive table.
        options: Sizes, seed, salt, limits.
        out_dir: The set's directory; must not exist.

    Returns:
        Totals of the set.

    Raises:
        CohortError: Two patients would share a pseudonym.
        RetfmError: `out_dir` exists, or another process is writing it.
        ShardError: `out_dir` cannot be written, no image is usable, or more are
            unusable than allowed; then the list of them lies beside, `OUT.rejects.csv`.
    """
    labels = records[0].labels if records else {}
    clashing = sorted(RESERVED_COLUMNS & labels.keys())
    if clashing:
        raise ShardError(
            "a kept column has the name of a column of samples.parquet", got=", ".join(clashing)
        )
    try:
        with staged_directory(out_dir) as staging:
            summary = _fill(staging, records, options, out_dir)
    except OSError as error:
        raise ShardError("cannot write the shard set", where=out_dir, got=error.strerror) from error
    rejects_path(out_dir).unlink(missing_ok=True)
    return summary


def _fill(
    staging: Path, records: Sequence[ImageRecord], options: BuildOptions, out_dir: Path
) -> BuildSummary:
    """Pack everything and write every file of the set; the manifest last."""
    with closing(Spool(staging / ".spool", seed=options.seed)) as spool:
        packing = _pack_all(records, options, spool)
        _check_rejects(packing, options, out_dir)
        shards = write_shards(
            spool,
            staging,
            shard_bytes=round(options.shard_mb * 1e6),
            labels=packing.records[0].labels,
        )
    write_text(staging / "rejects.csv", _render_rejects(packing.rejects))
    composition = describe_composition(packing.records)
    write_json(staging / "cohort.json", composition)
    write_text(staging / "cohort.md", render_markdown(composition))
    rejected = dict(sorted(Counter(reject.stage for reject in packing.rejects).items()))
    totals = {"num_records": len(records), "num_frames": packing.num_frames, "rejected": rejected}
    manifest = write_manifest(
        staging,
        shards=shards,
        files=list_files(staging, shards=shards),
        build=_describe_build(options) | totals,
    )
    return BuildSummary(
        num_samples=manifest.num_samples,
        num_shards=len(shards),
        num_bytes=sum(shard.num_bytes for shard in shards),
        fingerprint=manifest.fingerprint,
        **totals,
    )


def _pack_all(records: Sequence[ImageRecord], options: BuildOptions, spool: Spool) -> _Packing:
    """Pack every image; content seen before, unusable files and the rest are told apart."""
    pseudonyms = assign_pseudonyms({record.patient_id for record in records}, options.salt)
    tasks = (
        PackTask(options.images_dir / record.image_path, options.size, options.quality)
        for record in records
    )
    accepted: list[ImageRecord] = []
    rejects: list[Reject] = []
    first_records: dict[int, ImageRecord] = {}
    num_frames = 0
    with closing(map_in_order(pack_image, tasks, workers=options.workers)) as results:
        for record in track(records, description="packing images", total=len(records)):
            result = next(results)
            subject_id = pseudonyms[record.patient_id]
            if isinstance(result, PackedImage):
                sample = make_sample(record, result, subject_id=subject_id)
                first = first_records.setdefault(sample.uid, record)
                if first is record:
                    spool.add(sample, result.jpeg)
                    accepted.append(record)
                    num_frames += result.field_of_view.kind == "frame"
                    continue
                result = _duplicate(first, record)
            rejects.append(Reject(record.row, subject_id, result.stage, result.reason))
    return _Packing(accepted, rejects, num_frames)


def _duplicate(first: ImageRecord, record: ImageRecord) -> Rejection:
    """Return the rejection of content that an earlier row had."""
    whose = "" if first.patient_id == record.patient_id else ", of another patient"
    return Rejection("duplicate", f"same content as row {first.row}{whose}")


def _check_rejects(packing: _Packing, options: BuildOptions, out_dir: Path) -> None:
    """Log rejected images; raise if there are too many, with their list beside the output."""
    counts = Counter(reject.stage for reject in packing.rejects)
    if counts["duplicate"]:
        logger.warning("%d images left out as duplicates of others", counts.pop("duplicate"))
    num_records = len(packing.records) + len(packing.rejects)
    num_bad = counts.total()
    if packing.records and num_bad <= options.max_reject_ratio * num_records:
        return
    write_text(rejects_path(out_dir), _render_rejects(packing.rejects))
    reasons = Counter(
        f"{reject.stage}: {reject.reason}"
        for reject in packing.rejects
        if reject.stage != "duplicate"
    )
    listed = ", ".join(f"{count} x [{reason}]" for reason, count in reasons.most_common(5))
    raise ShardError(
        "too many images are unusable",
        got=f"{num_bad} of {num_records} ({listed})",
        expected=f"at most {options.max_reject_ratio:.2%}",
        hint=f"see {rejects_path(out_dir)}; fix the files or raise --max-reject-ratio",
    )


def _render_rejects(rejects: Sequence[Reject]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "subject_id", "stage", "reason"])
    writer.writerows(
        [reject.row, reject.subject_id, reject.stage, reject.reason] for reject in rejects
    )
    return text.getvalue()


def _describe_build(options: BuildOptions) -> dict[str, Any]:
    """Return the build parameters that shape the bytes of a set, without paths and secrets."""
    parameters = asdict(options)
    for name in ("images_dir", "salt", "workers", "max_reject_ratio"):
        del parameters[name]
    return parameters | {
        "shard_mb": float(options.shard_mb),
        "salt_id": make_salt_id(options.salt),
        "retfm_dist": __version__,
        "pillow": PIL.__version__,
    }
