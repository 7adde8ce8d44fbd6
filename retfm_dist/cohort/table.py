"""Read an archive table, CSV or Parquet, into records.

The columns are those of `columns`. Others are dropped unless named: what is not asked for cannot
leak.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from retfm_dist.cohort.columns import (
    ARCHIVE_COLUMNS,
    LABEL_PREFIX,
    OPTIONAL_COLUMNS,
    PRIVATE_COLUMNS,
    REQUIRED_COLUMNS,
)
from retfm_dist.cohort.records import ImageRecord, clean_label, clean_text
from retfm_dist.errors import CohortError

Cells = Mapping[str, str | None]


def read_archive_table(path: Path, *, keep_columns: Sequence[str] = ()) -> tuple[ImageRecord, ...]:
    """Read a table of images.

    Args:
        path: A `.csv` (UTF-8, comma) or `.parquet` file with one row per image.
        keep_columns: Further columns to carry along as labels, beyond the known ones.

    Returns:
        One record per row, in the order of the table.

    Raises:
        CohortError: The file cannot be read, is empty, lacks a required column or a kept one,
            misses a required value, names an image twice or holds a value that has no meaning.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise CohortError(
            "unknown kind of table",
            where=path,
            got=path.suffix or "no suffix",
            expected=".csv or .parquet",
        )
    try:
        columns, rows = readers[path.suffix.lower()](path)
    except OSError as error:
        raise CohortError(
            "cannot read the table", where=path, got=error.strerror or error
        ) from error
    labels = _choose_labels(path, columns, keep_columns)
    records = tuple(
        _parse_row(cells, labels, path=path, row=row) for row, cells in enumerate(rows, start=1)
    )
    if not records:
        raise CohortError("the table has no rows", where=path, expected="one row per image")
    _check_unique(path, records)
    return records


def _read_csv(path: Path) -> tuple[list[str], Iterator[Cells]]:
    """Read a CSV whole; every cell is text, so leading zeros survive."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            lines = [line for line in reader if line]
        except (csv.Error, UnicodeDecodeError) as error:
            raise CohortError(
                "not a readable CSV file", where=f"{path}: line {reader.line_num + 1}", got=error
            ) from error
    columns = [column.strip() for column in lines[0]] if lines else []
    for row, line in enumerate(lines[1:], start=1):
        if len(line) != len(columns):
            raise CohortError(
                "the row does not fit the header",
                where=f"{path}: row {row}",
                got=f"{len(line)} cells",
                expected=f"{len(columns)}",
                hint="put cells that hold commas in double quotes",
            )
    return columns, (dict(zip(columns, line, strict=True)) for line in lines[1:])


def _read_parquet(path: Path) -> tuple[list[str], Iterator[Cells]]:
    """Read a Parquet file; numbers and dates become their text."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise CohortError("not a readable Parquet file", where=path, got=error) from error
    for name in REQUIRED_COLUMNS:
        if name in table.column_names and pyarrow.types.is_floating(table.schema.field(name).type):
            raise CohortError(
                "identifiers are stored as floating-point numbers, which loses digits",
                where=f"{path}: column {name}",
                hint="store the column as text",
            )
    columns = table.column_names
    rows = (row for batch in table.to_batches() for row in batch.to_pylist())
    return columns, ({name: _as_text(value) for name, value in row.items()} for row in rows)


def _as_text(value: object) -> str | None:
    """Return a Parquet value as a CSV would hold it.

    pandas stores a column of whole numbers with gaps as floats, and 1.0 there is 1 in a CSV.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _has_semicolons(columns: Sequence[str]) -> bool:
    """Whether a spreadsheet wrote the header with semicolons, as it does in many countries."""
    return len(columns) == 1 and ";" in columns[0]


def _choose_labels(path: Path, columns: Sequence[str], keep_columns: Sequence[str]) -> list[str]:
    """Check the header and return the columns carried along as labels, in its order."""
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise CohortError("the header names a column twice", where=path, got=", ".join(repeated))
    for name in (*REQUIRED_COLUMNS, *keep_columns):
        if name not in columns:
            raise CohortError(
                "a column is missing",
                where=path,
                got=f"the columns {', '.join(columns) or '(none)'}",
                expected=f"a column {name}",
                hint="separate the columns by commas" if _has_semicolons(columns) else None,
            )
    private = sorted(set(keep_columns) & set(PRIVATE_COLUMNS))
    if private:
        raise CohortError(
            "this column identifies people and is never kept",
            where=path,
            got=", ".join(private),
            hint="leave it out of --keep-column",
        )
    known = {*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS}
    return [
        name
        for name in columns
        if name not in known and (name in keep_columns or name.startswith(LABEL_PREFIX))
    ]


def _parse_row(cells: Cells, labels: Sequence[str], *, path: Path, row: int) -> ImageRecord:
    """Turn one row's text into a record."""

    def where(column: str) -> str:
        return f"{path}: row {row}, column {column}"

    for name in REQUIRED_COLUMNS:
        if clean_text(cells[name]) is None:
            raise CohortError(
                "the value is missing", where=where(name), expected="a value in every row"
            )
    values = {
        column.name: column.parse(cells.get(column.name), where=where(column.name))
        for column in ARCHIVE_COLUMNS
    }
    return ImageRecord(row=row, labels={n: _parse_label(n, cells) for n in labels}, **values)


def _parse_label(name: str, cells: Cells) -> str | None:
    """Return a label in canonical spelling; columns kept by name are not changed."""
    return clean_label(cells[name]) if name.startswith(LABEL_PREFIX) else clean_text(cells[name])


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
