"""Build a shard set from the records of an archive table.

    pack     worker processes read, crop, shrink and encode; results come back in table order
    spool    packed images wait on disk until all are there and their order is known
    write    tars, indexes, table, rejects, composition; the manifest last

Everything happens in a hidden directory beside the set. An interrupted build leaves it, and the
same command continues there. The bytes of a set depend on the images, the table, the salt and the
options; neither the number of workers nor interruptions change them.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL
import simplejpeg

from retfm_dist import __version__
from retfm_dist.cohort.composition import describe_composition, render_markdown
from retfm_dist.cohort.pseudonym import assign_pseudonyms, make_salt_id
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.directories import RESULT_NAME, kept_workspace
from retfm_dist.durable import write_json, write_text
from retfm_dist.errors import ShardError
from retfm_dist.shard.manifest import ShardEntry, write_manifest
from retfm_dist.shard.packing.duplicates import (
    Duplicate,
    find_near,
    refuse_conflicts,
    render_duplicates,
    split_exact,
)
from retfm_dist.shard.packing.options import BuildOptions
from retfm_dist.shard.packing.pack import PackedFacts
from retfm_dist.shard.packing.rejects import (
    Reject,
    check_rejects,
    rejects_path,
    render_rejects,
    warn_of_rejects,
)
from retfm_dist.shard.packing.spool import Spool, SpoolEntry
from retfm_dist.shard.packing.table import pack_all
from retfm_dist.shard.sample import RESERVED_COLUMNS, Sample, make_sample
from retfm_dist.shard.set_index import write_set_index
from retfm_dist.shard.write import JpegsGoneError, ShardWriter, Waiting, list_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildSummary:
    """Totals of a build.

    Attributes:
        num_records: Rows of the table.
        num_samples: Images packed.
        num_shards: Tars written.
        num_bytes: Their size together.
        kinds: Number of packed images of each kind of field of view.
        rejected: Number of images left out, by stage.
        fingerprint: The manifest's.
    """

    num_records: int
    num_samples: int
    num_shards: int
    num_bytes: int
    kinds: Mapping[str, int]
    rejected: Mapping[str, int]
    fingerprint: str


@dataclass(frozen=True)
class _Plan:
    """What a set will hold: images in the order of the set, and what is left out."""

    waiting: Sequence[Waiting]
    records: Sequence[ImageRecord]
    rejects: Sequence[Reject]
    duplicates: Sequence[Duplicate]


def build_shards(
    records: Sequence[ImageRecord], options: BuildOptions, out_dir: Path
) -> BuildSummary:
    """Pack the records' images into a new shard set, or go on where an earlier call ended.

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
        WorkerError: One worker process after the other died.
    """
    labels = records[0].labels if records else {}
    clashing = sorted(RESERVED_COLUMNS & labels.keys())
    if clashing:
        raise ShardError(
            "a kept column has the name of a column of samples.parquet", got=", ".join(clashing)
        )
    subject_ids = assign_pseudonyms({record.patient_id for record in records}, options.salt)
    try:
        with kept_workspace(out_dir) as workspace:
            try:
                summary = _fill(workspace, records, options, subject_ids, out_dir)
            except JpegsGoneError:
                logger.warning("the table or the options have changed: all images are packed anew")
                shutil.rmtree(workspace / "spool")
                summary = _fill(workspace, records, options, subject_ids, out_dir)
    except OSError as error:
        raise ShardError("cannot write the shard set", where=out_dir, got=error.strerror) from error
    rejects_path(out_dir).unlink(missing_ok=True)
    return summary


def _fill(
    workspace: Path,
    records: Sequence[ImageRecord],
    options: BuildOptions,
    subject_ids: Mapping[str, str],
    out_dir: Path,
) -> BuildSummary:
    """Pack everything and write every file of the set; the manifest last."""
    result = workspace / RESULT_NAME
    result.mkdir(exist_ok=True)
    build = _describe_build(options)
    with closing(Spool(workspace / "spool", seed=options.seed, terms=_terms(build))) as spool:
        plan = _plan(records, options, spool, subject_ids, out_dir)

        def sample_of(record: ImageRecord, entry: SpoolEntry) -> Sample:
            return make_sample(record, _facts(entry), subject_id=subject_ids[record.patient_id])

        (workspace / "notes").mkdir(exist_ok=True)
        shards = ShardWriter(spool, result, workspace / "notes", sample_of).write(
            plan.waiting,
            shard_bytes=round(options.shard_mb * 1e6),
            labels=plan.records[0].labels,
        )
    _remove_others(result, shards)
    write_text(result / "rejects.csv", render_rejects(plan.rejects))
    write_text(result / "duplicates.csv", render_duplicates(plan.duplicates))
    composition = describe_composition(plan.records)
    write_json(result / "cohort.json", composition)
    write_text(result / "cohort.md", render_markdown(composition))
    totals = {
        "num_records": len(records),
        "kinds": _count(_facts(entry).field_of_view.kind for _, entry in plan.waiting),
        "rejected": _count(reject.stage for reject in plan.rejects),
    }
    files = list_files(result, shards=shards)
    manifest = write_manifest(result, shards=shards, files=files, build=build | totals)
    write_set_index(result)
    return BuildSummary(
        num_samples=manifest.num_samples,
        num_shards=len(shards),
        num_bytes=sum(shard.num_bytes for shard in shards),
        fingerprint=manifest.fingerprint,
        **totals,
    )


def _plan(
    records: Sequence[ImageRecord],
    options: BuildOptions,
    spool: Spool,
    subject_ids: Mapping[str, str],
    out_dir: Path,
) -> _Plan:
    """Pack all images, and decide which of them the set will hold."""
    packed, rejects = pack_all(records, options, spool, subject_ids=subject_ids, out_dir=out_dir)
    kept, duplicates = split_exact(packed)
    near = find_near(kept)
    if options.duplicates == "refuse":
        refuse_conflicts([*duplicates, *near])
    left_out = [*duplicates, *(near if options.duplicates == "near" else ())]
    out_rows = {duplicate.second.row for duplicate in left_out}
    kept = [(record, entry) for record, entry in kept if record.row not in out_rows]
    rejects = sorted(
        [*rejects, *(_leave_out(duplicate, subject_ids) for duplicate in left_out)],
        key=lambda reject: reject.row,
    )
    check_rejects(
        rejects,
        num_seen=len(records),
        num_records=len(records),
        max_ratio=options.max_reject_ratio,
        out_dir=out_dir,
    )
    warn_of_rejects(rejects)
    _warn_of_duplicates([*duplicates, *near], options)
    waiting = sorted(kept, key=lambda pair: pair[1].order)
    every = sorted([*duplicates, *near], key=lambda duplicate: duplicate.second.row)
    return _Plan(waiting, [record for record, _ in kept], rejects, every)


def _facts(entry: SpoolEntry) -> PackedFacts:
    assert isinstance(entry.outcome, PackedFacts)
    return entry.outcome


def _leave_out(duplicate: Duplicate, subject_ids: Mapping[str, str]) -> Reject:
    """Return the reject that a duplicate becomes."""
    what = "content" if duplicate.kind == "exact" else "picture"
    whose = "" if duplicate.same_patient else ", of another patient"
    reason = f"same {what} as row {duplicate.first.row}{whose}"
    return Reject(
        duplicate.second.row, subject_ids[duplicate.second.patient_id], "duplicate", reason
    )


def _warn_of_duplicates(duplicates: Sequence[Duplicate], options: BuildOptions) -> None:
    conflicts = sum(duplicate.is_conflict for duplicate in duplicates)
    near = sum(duplicate.kind == "near" for duplicate in duplicates)
    if near and options.duplicates == "exact":
        logger.warning(
            "%d images are near duplicates of others and packed; see duplicates.csv, and "
            "--duplicates near to leave them out",
            near,
        )
    if conflicts:
        logger.warning(
            "%d pairs of the same picture are of different patients, eyes or labels; see "
            "duplicates.csv",
            conflicts,
        )


def _count(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _remove_others(result: Path, shards: Sequence[ShardEntry]) -> None:
    """Remove shards that an interrupted build wrote beyond the last one of this plan."""
    names = {name for s in shards for name in (s.name, s.index_name, s.dali_index_name)}
    for path in result.iterdir():
        if path.suffix in (".tar", ".idx", ".samples") and path.name not in names:
            path.unlink()


def _describe_build(options: BuildOptions) -> dict[str, Any]:
    """Return the build parameters that shape the bytes of a set, without paths and secrets."""
    return {
        "size": options.size,
        "quality": options.quality,
        "shard_mb": float(options.shard_mb),
        "seed": options.seed,
        "accept": sorted(options.accept),
        "modalities": sorted(options.modalities),
        "duplicates": options.duplicates,
        "salt_id": make_salt_id(options.salt),
        "retfm_dist": __version__,
        "pillow": PIL.__version__,
        "simplejpeg": simplejpeg.__version__,
    }


def _terms(build: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that shape one packed image and its name in the spool."""
    names = ("size", "quality", "salt_id", "retfm_dist", "pillow", "simplejpeg")
    return {name: build[name] for name in names}
