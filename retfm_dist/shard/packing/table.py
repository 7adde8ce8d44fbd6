"""Pack every image of a table: what an earlier build left is used, the rest goes to workers."""

import hashlib
import hmac
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.console import track
from retfm_dist.errors import ImageError
from retfm_dist.image.source import find_source
from retfm_dist.shard.packing.options import BuildOptions
from retfm_dist.shard.packing.pack import PackTask, Rejection, lose_image, pack_image
from retfm_dist.shard.packing.rejects import Reject, check_rejects
from retfm_dist.shard.packing.spool import Spool, SpoolEntry
from retfm_dist.workers import map_in_order

logger = logging.getLogger(__name__)

_REASONS = {
    "frame": "no round outline: the picture fills its frame, with whatever stands in the corners",
    "strokes": "bright strokes, such as a burnt-in name, cross the rim of the field of view",
}


def pack_all(
    records: Sequence[ImageRecord],
    options: BuildOptions,
    spool: Spool,
    *,
    subject_ids: Mapping[str, str],
    out_dir: Path,
) -> tuple[list[tuple[ImageRecord, SpoolEntry]], list[Reject]]:
    """Pack the records' images into the spool.

    Args:
        records: Rows of an archive table.
        options: What is packed, and how.
        spool: Where packed images wait.
        subject_ids: Pseudonyms by patient number.
        out_dir: The set's directory, beside which a list of too many rejects goes.

    Returns:
        Packed records, in table order, and the others.

    Raises:
        ShardError: Too many images are unusable; raised as soon as that is certain.
        WorkerError: One worker process after the other died.
    """
    packed: list[tuple[ImageRecord, SpoolEntry]] = []
    rejects: list[Reject] = []
    num_seen = 0
    with closing(_entries(records, options, spool)) as entries:
        for record, outcome in track(entries, description="packing images", total=len(records)):
            num_seen += 1
            if isinstance(outcome, SpoolEntry) and not isinstance(outcome.outcome, Rejection):
                packed.append((record, outcome))
                continue
            rejection = outcome.outcome if isinstance(outcome, SpoolEntry) else outcome
            assert isinstance(rejection, Rejection)
            subject_id = subject_ids[record.patient_id]
            rejects.append(
                Reject(record.row, subject_id, rejection.stage, rejection.reason, rejection.kind)
            )
            if rejection.stage != "quarantine":
                check_rejects(
                    rejects,
                    num_seen=num_seen,
                    num_records=len(records),
                    max_ratio=options.max_reject_ratio,
                    out_dir=out_dir,
                )
    return packed, rejects


def _entries(
    records: Sequence[ImageRecord], options: BuildOptions, spool: Spool
) -> Generator[tuple[ImageRecord, SpoolEntry | Rejection], None, None]:
    """Yield every record with what became of its image, in table order."""
    names = [_source_name(record.image_path, options.salt) for record in records]
    unasked = [_is_unasked(record, options) for record in records]
    known = [
        None if skip else _kept(record, name, options, spool)
        for record, name, skip in zip(records, names, unasked, strict=True)
    ]
    num_kept = sum(entry is not None for entry in known)
    if num_kept:
        logger.info("%d images were packed before and are kept", num_kept)
    tasks = (
        PackTask(options.images_dir, record.image_path, options.size, options.quality)
        for record, entry, skip in zip(records, known, unasked, strict=True)
        if entry is None and not skip
    )
    with closing(
        map_in_order(
            pack_image,
            tasks,
            workers=options.workers,
            timeout_s=options.image_timeout_s,
            replace_lost=lose_image if options.image_timeout_s else None,
        )
    ) as results:
        for record, name, entry, skip in zip(records, names, known, unasked, strict=True):
            if skip:
                yield record, Rejection("quarantine", "of another modality", "modality")
                continue
            entry = entry or spool.add(name, next(results))
            yield record, _quarantined(entry, options) or entry


def _source_name(path: str, salt: bytes) -> str:
    """Return the name of a source in the spool: file names may hold patient numbers."""
    return hmac.new(
        salt, b"path:" + path.encode("utf-8", "surrogatepass"), hashlib.sha256
    ).hexdigest()[:32]


def _is_unasked(record: ImageRecord, options: BuildOptions) -> bool:
    return record.modality is not None and record.modality not in options.modalities


def _kept(record: ImageRecord, name: str, options: BuildOptions, spool: Spool) -> SpoolEntry | None:
    """Return what an earlier build made of an image, unless its file has changed since."""
    entry = spool.find(name)
    if entry is None:
        return None
    try:
        facts = find_source(options.images_dir, record.image_path).stat()
    except (ImageError, OSError):
        return None
    return entry if entry.stamp == (facts.st_size, facts.st_mtime_ns) else None


def _quarantined(entry: SpoolEntry, options: BuildOptions) -> Rejection | None:
    """Return why a packed image is held back, or None."""
    if isinstance(entry.outcome, Rejection):
        return None
    kind = entry.outcome.field_of_view.kind
    if kind == "circle" or kind in options.accept:
        return None
    return Rejection("quarantine", _REASONS[kind], kind)
