"""Read the cells of a CSV or Parquet file as text, so that both give the same records."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from retfm_dist.cohort.columns import REQUIRED_COLUMNS
from retfm_dist.cohort.spelling import strip_padding
from retfm_dist.errors import CohortError

Cells = Mapping[str, str | None]
Rows = Iterator[tuple[int, Cells]]

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_TO_UTF8 = (
    'save it as "CSV UTF-8", or convert it with iconv -f GB18030 -t UTF-8 (GB18030 is the usual '
    "encoding of Chinese spreadsheets, CP1252 of western ones)"
)


def read_cells(path: Path) -> tuple[list[str], Rows]:
    """Read a table.

    Columns without a name and without any value, and rows without any value, as spreadsheets
    leave them at the edges, are left out.

    Args:
        path: A `.csv` (UTF-8 or UTF-16 with its mark, comma) or `.parquet` file.

    Returns:
        Names of the columns; number (1-based, the header not counted) and cells of each row.

    Raises:
        CohortError: The file is of another kind, cannot be read, or its rows do not fit its header.
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
        return readers[path.suffix.lower()](path)
    except OSError as error:
        raise CohortError(
            "cannot read the table", where=path, got=error.strerror or error
        ) from error


def _read_csv(path: Path) -> tuple[list[str], Rows]:
    """Read a CSV whole; every cell is text, so leading zeros survive."""
    reader = csv.reader(io.StringIO(_decode(path), newline=""), strict=True)
    lines, numbers = [], []
    try:
        for line in reader:
            lines.append(line)
            numbers.append(reader.line_num)
    except csv.Error as error:
        raise CohortError(
            "not a readable CSV file", where=f"{path}: line {reader.line_num}", got=error
        ) from error
    head = next((index for index, line in enumerate(lines) if not _is_blank(line)), None)
    if head is None:
        return [], iter(())
    columns = [strip_padding(name) for name in lines[head]]
    while not columns[-1]:
        columns.pop()
    width = len(columns)
    rows = [(row, line) for row, line in enumerate(lines[head:]) if row and not _is_blank(line)]
    for row, line in rows:
        if len(line) < width or not _is_blank(line[width:]):
            raise CohortError(
                "the row does not fit the header",
                where=f"{path}: row {row} (line {numbers[head + row]})",
                got=f"{len(line)} cells",
                expected=f"{width}",
                hint="put cells that hold commas in double quotes",
            )
    return columns, ((row, dict(zip(columns, line, strict=False))) for row, line in rows)


def _is_blank(line: Sequence[str | None]) -> bool:
    return not any(cell and strip_padding(cell) for cell in line)


def _decode(path: Path) -> str:
    """Return the text of a file."""
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CohortError(
            "not a readable CSV file",
            where=f"{path}: line {line}",
            got=f"bytes that are not {encoding[:6].upper().rstrip('-')}",
            expected="UTF-8",
            hint=_TO_UTF8,
        ) from error


def _read_parquet(path: Path) -> tuple[list[str], Rows]:
    """Read a Parquet file; numbers and dates become their text."""
    import pyarrow
    import pyarrow.parquet
    import pyarrow.types as types

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise CohortError("not a readable Parquet file", where=path, got=error) from error
    for name in REQUIRED_COLUMNS:
        if name not in table.column_names:
            continue
        kind = table.schema.field(name).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_floating(kind):
            raise CohortError(
                "identifiers are stored as floating-point numbers, which loses digits",
                where=f"{path}: column {name}",
                hint="store the column as text",
            )
        if types.is_nested(kind) or types.is_boolean(kind):
            raise CohortError(
                "the column does not hold identifiers",
                where=f"{path}: column {name}",
                got=kind,
                expected="text",
            )
    columns = [name for name in table.column_names if name.strip()]
    rows = (row for batch in table.to_batches() for row in batch.to_pylist())
    cells = (
        {name: _as_text(row[name], path=path, column=name) for name in columns} for row in rows
    )
    numbered = enumerate(cells, start=1)
    return columns, ((row, line) for row, line in numbered if not _is_blank([*line.values()]))


def _as_text(value: object, *, path: Path, column: str) -> str | None:
    """Return a Parquet value as a CSV would hold it.

    pandas stores a column of whole numbers with gaps as floats, and 1.0 there is 1 in a CSV.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CohortError(
                "the column holds bytes that are no text",
                where=f"{path}: column {column}",
                hint="store the column as text",
            ) from error
    return str(value)


def has_semicolons(columns: Sequence[str]) -> bool:
    """Whether a spreadsheet wrote the header with semicolons, as it does in many countries."""
    return len(columns) == 1 and ";" in columns[0]
