"""Read an archive table, CSV or Parquet, into records.

The columns are those of `columns`. Others are dropped unless named: what is not asked for cannot
leak.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from retfm_dist.cohort.columns import (
    ARCHIVE_COLUMNS,
    LABEL_PREFIX,
    OPTIONAL_COLUMNS,
    PRIVATE_COLUMNS,
    REQUIRED_COLUMNS,
)
from retfm_dist.cohort.identifiers import check_identifiers
from retfm_dist.cohort.readers import Cells, has_semicolons, read_cells
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.cohort.spelling import clean_kept, clean_label
from retfm_dist.errors import CohortError

logger = logging.getLogger(__name__)


def read_archive_table(
    path: Path, *, keep_columns: Sequence[str] = (), ids_as_written: bool = False
) -> tuple[ImageRecord, ...]:
    """Read a table of images.

    Args:
        path: A `.csv` (UTF-8, comma) or `.parquet` file with one row per image.
        keep_columns: Further columns to carry along as labels, beyond the known ones.
        ids_as_written: Accept patient numbers that look damaged or nearly alike.

    Returns:
        One record per row, in the order of the table.

    Raises:
        CohortError: The file cannot be read, is empty, lacks a required column or a kept one,
            misses a required value, names an image twice, holds a value that has no meaning, or
            its patient numbers are damaged (see `identifiers`).
    """
    columns, rows = read_cells(path)
    labels = _choose_labels(path, columns, keep_columns)
    numbered = list(rows)
    if not numbered:
        raise CohortError("the table has no rows", where=path, expected="one row per image")
    patient_ids = check_identifiers(
        [(row, cells["patient_id"]) for row, cells in numbered],
        where=f"{path}: column patient_id",
        as_written=ids_as_written,
    )
    records = tuple(
        _parse_row({**cells, "patient_id": patient_id}, labels, path=path, row=row)
        for (row, cells), patient_id in zip(numbered, patient_ids, strict=True)
    )
    _check_unique(path, records)
    _warn_of_labels(path, records)
    return records


def _choose_labels(path: Path, columns: Sequence[str], keep_columns: Sequence[str]) -> list[str]:
    """Check the header and return the columns carried along as labels, in its order."""
    known = {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS}
    nameless = [number for number, name in enumerate(columns, start=1) if not name]
    if nameless:
        raise CohortError(
            "a column with values has no name",
            where=path,
            got=f"column {nameless[0]}",
            hint="name it, or remove it",
        )
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        places = [number for number, name in enumerate(columns, start=1) if name == repeated[0]]
        raise CohortError(
            "the header names a column twice",
            where=path,
            got=f"{repeated[0] if repeated[0] in known else 'one name'} in columns "
            + " and ".join(map(str, places)),
        )
    for name in (*REQUIRED_COLUMNS, *keep_columns):
        if name not in columns:
            raise _missing_column(path, columns, name, known={*known, *keep_columns})
    private = sorted(set(keep_columns) & set(PRIVATE_COLUMNS))
    if private:
        raise CohortError(
            "this column identifies people and is never kept",
            where=path,
            got=", ".join(private),
            hint="leave it out of --keep-column",
        )
    return [
        name
        for name in columns
        if name not in known and (name in keep_columns or name.startswith(LABEL_PREFIX))
    ]


def _missing_column(
    path: Path, columns: Sequence[str], name: str, *, known: set[str]
) -> CohortError:
    """Name the known columns alone: without a header, the first row's cells stand in its place."""
    found = [column for column in columns if column in known or column.startswith(LABEL_PREFIX)]
    similar = [column for column in columns if column.lower().replace(" ", "_") == name]
    hint = None
    if has_semicolons(columns):
        hint = "separate the columns by commas"
    elif similar:
        hint = f"rename the column {similar[0]!r}"
    elif not found:
        hint = "the first line must hold the names of the columns"
    return CohortError(
        "a column is missing",
        where=path,
        got=f"{len(columns)} columns, of them known: {', '.join(found) or 'none'}",
        expected=f"a column {name}",
        hint=hint,
    )


def _parse_row(cells: Cells, labels: Sequence[str], *, path: Path, row: int) -> ImageRecord:
    """Turn one row's text into a record."""
    values = {
        column.name: column.parse(
            cells.get(column.name), where=f"{path}: row {row}, column {column.name}"
        )
        for column in ARCHIVE_COLUMNS
        if column.name != "patient_id"  # checked as a whole column, where "-" is a mark
    }
    if values["image_path"] is None:
        raise CohortError(
            "the value is missing",
            where=f"{path}: row {row}, column image_path",
            expected="a value in every row",
        )
    return ImageRecord(
        row=row,
        patient_id=str(cells["patient_id"]),
        labels={name: _parse_label(name, cells) for name in labels},
        **values,
    )


def _parse_label(name: str, cells: Cells) -> str | None:
    """Return a label in canonical spelling; columns kept by name are not changed."""
    return clean_label(cells[name]) if name.startswith(LABEL_PREFIX) else clean_kept(cells[name])


def _check_unique(path: Path, records: Sequence[ImageRecord]) -> None:
    """Refuse a table that names an image twice; the message names rows, not files."""
    first_rows: dict[PurePosixPath, int] = {}
    for record in records:
        first = first_rows.setdefault(PurePosixPath(record.image_path), record.row)
        if first != record.row:
            raise CohortError(
                "the image is listed twice",
                where=f"{path}: row {record.row}, column image_path",
                got=f"the file of row {first}",
                expected="one row per image",
            )


def _warn_of_labels(path: Path, records: Sequence[ImageRecord]) -> None:
    """Warn of labels that may mean something else: "none", and spellings of one word."""
    for name in records[0].labels:
        labels = [
            (str(record.labels[name]), record.row) for record in records if record.labels[name]
        ]
        first_rows = dict(reversed(labels))
        where = f"{path}: column {name}"
        nones = sum(label.lower() == "none" for label, _ in labels)
        if nones:
            logger.warning(
                "%s: %d cells say none, which is kept as a class of its own; leave a cell empty "
                "where the value is missing",
                where,
                nones,
            )
        folded: dict[str, list[int]] = defaultdict(list)
        for label, row in first_rows.items():
            folded[" ".join(label.casefold().split())].append(row)
        for alike in sorted(folded.values(), key=min):
            if len(alike) > 1:
                logger.warning(
                    "%s: rows %d and %d hold labels that differ in letter case or spaces alone "
                    "and count as two classes",
                    where,
                    *sorted(alike)[:2],
                )
