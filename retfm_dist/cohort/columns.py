"""The columns of an archive table: their names, meanings and handling.

    image_path patient_id                               required, private
    exam_id captured_on                                 optional, private
    eye age sex ethnicity device site                   optional, packed into shard sets
    quality modality                                    optional, read and not packed
    label_*                                             optional, packed as text

Private columns identify people or days and never leave the hospital. Other columns are dropped
unless they are kept by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from retfm_dist.cohort.records import (
    parse_age,
    parse_eye,
    parse_modality,
    parse_path,
    parse_sex,
    parse_text,
)
from retfm_dist.cohort.spelling import clean_label

LABEL_PREFIX = "label_"
"""Start of the names of label columns."""


@dataclass(frozen=True)
class Column:
    """A column with a fixed meaning; its value is the field of that name of `ImageRecord`.

    Attributes:
        name: Name in the header.
        parse: (cell, where=...) -> value; raises CohortError for a cell without meaning.
        is_required: Whether every row needs a value.
        is_private: Whether it identifies people or days, and so never leaves the hospital.
        packed_as: Type of the value in a shard set; None where it is not packed.
    """

    name: str
    parse: Callable[..., Any] = parse_text
    is_required: bool = False
    is_private: bool = False
    packed_as: Literal["text", "number"] | None = None


ARCHIVE_COLUMNS = (
    Column("image_path", parse_path, is_required=True, is_private=True),
    Column("patient_id", is_required=True, is_private=True),
    Column("exam_id", is_private=True),
    Column("eye", parse_eye, packed_as="text"),
    Column("age", parse_age, packed_as="number"),
    Column("sex", parse_sex, packed_as="text"),
    Column("ethnicity", packed_as="text"),
    Column("device", packed_as="text"),
    Column("site", packed_as="text"),
    Column("captured_on", is_private=True),
    Column("quality"),
    Column("modality", parse_modality),
)
"""All columns with a fixed meaning, in the order in which tables are written."""

REQUIRED_COLUMNS = tuple(column.name for column in ARCHIVE_COLUMNS if column.is_required)
OPTIONAL_COLUMNS = tuple(column.name for column in ARCHIVE_COLUMNS if not column.is_required)
PRIVATE_COLUMNS = tuple(column.name for column in ARCHIVE_COLUMNS if column.is_private)
PACKED_COLUMNS = tuple(column for column in ARCHIVE_COLUMNS if column.packed_as is not None)


def clean_value(column: str, value: str | None, *, where: str) -> str | None:
    """Return one value of a column in the spelling under which it is compared.

    A table's cell and a value of a config come out alike: "M" and "male", "OD" and "right", "CFP"
    and "cfp", 1 and 1.0.

    Args:
        column: Name of the column.
        value: Cell of the table, value of a record's field, or value of a config, as text.
        where: What holds the value, for the message.

    Raises:
        CohortError: The value has no meaning in that column.
    """
    for known in ARCHIVE_COLUMNS:
        if known.name == column:
            parsed = known.parse(value, where=where)
            return None if parsed is None else clean_label(str(parsed))
    return clean_label(value)
