"""Images left out: their list, and when there are too many of them."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retfm_dist.durable import write_text
from retfm_dist.errors import ShardError

logger = logging.getLogger(__name__)

NO_FAILURES = frozenset({"duplicate", "quarantine"})
"""Stages that say nothing of the archive's files being unusable."""

_MIN_JUDGED = 100
_HOPELESS_RATIO = 0.5


@dataclass(frozen=True)
class Reject:
    """A row of rejects.csv: the table's row says which file it is, to those who hold the table.

    Attributes:
        row: Row of the archive table, 1-based, the header not counted.
        subject_id: Pseudonym of the patient.
        stage: Step that failed.
        reason: One clause.
        kind: What the picture is instead, where it is quarantined: "frame", "strokes", "modality".
    """

    row: int
    subject_id: str
    stage: str
    reason: str
    kind: str = ""


def rejects_path(out_dir: Path) -> Path:
    """Return where the list of unusable images goes when there are too many of them."""
    return out_dir.with_name(f"{out_dir.name}.rejects.csv")


def render_rejects(rejects: Sequence[Reject]) -> str:
    """Return the text of rejects.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "subject_id", "stage", "kind", "reason"])
    writer.writerows([r.row, r.subject_id, r.stage, r.kind, r.reason] for r in rejects)
    return text.getvalue()


def are_too_many(num_bad: int, num_seen: int, num_records: int, *, max_ratio: float) -> bool:
    """Whether a build can be given up: too many images have failed already.

    That is certain once more have failed than the whole table may lose; while they are few, the
    rest is looked at all the same, so that the list of them is whole. It is taken for certain when
    most of the first hundred or more fail: then a path or a format is wrong throughout.
    """
    is_certain = num_bad > max_ratio * num_records
    if is_certain and (num_seen == num_records or num_bad >= _MIN_JUDGED):
        return True
    return num_seen >= _MIN_JUDGED and num_bad > max(_HOPELESS_RATIO, max_ratio) * num_seen


def check_rejects(
    rejects: Sequence[Reject], *, num_seen: int, num_records: int, max_ratio: float, out_dir: Path
) -> None:
    """Raise if too many of the images seen so far have failed, with their list beside the output.

    Raises:
        ShardError: See above, or nothing at all is left.
    """
    bad = [reject for reject in rejects if reject.stage not in NO_FAILURES]
    is_empty = num_seen == num_records == len(rejects)
    if not is_empty and not are_too_many(len(bad), num_seen, num_records, max_ratio=max_ratio):
        return
    write_text(rejects_path(out_dir), render_rejects(rejects))
    shown = bad or rejects
    reasons = Counter(f"{reject.stage}: {reject.reason}" for reject in shown)
    listed = ", ".join(f"{count} x [{reason}]" for reason, count in reasons.most_common(5))
    so_far = f" after the first {num_seen}" if num_seen < num_records else ""
    raise ShardError(
        "too many images are unusable" if bad else "no image is left to pack",
        got=f"{len(shown)} of {num_records}{so_far} ({listed})",
        expected=f"at most {max_ratio:.2%}" if bad else None,
        hint=f"see {rejects_path(out_dir)}; fix the files or raise --max-reject-ratio"
        if bad
        else f"see {rejects_path(out_dir)}, and --accept and --modality",
    )


def warn_of_rejects(rejects: Sequence[Reject]) -> None:
    """Log how many images were left out for other reasons than being unusable."""
    duplicates = sum(reject.stage == "duplicate" for reject in rejects)
    if duplicates:
        logger.warning("%d images left out as duplicates of others", duplicates)
    for kind, count in sorted(Counter(r.kind for r in rejects if r.stage == "quarantine").items()):
        option = "--modality" if kind == "modality" else f"--accept {kind}"
        logger.warning(
            "%d images in quarantine (%s): listed in rejects.csv and not packed; %s packs them",
            count,
            kind,
            option,
        )
