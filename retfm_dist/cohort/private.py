"""The private values of an archive table, and where they stand in other text.

Private are the columns that never leave the hospital: patient and examination numbers, dates,
and file names, which often hold both.
"""

import base64
import binascii
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote

from retfm_dist.cohort.columns import PACKED_COLUMNS
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import CohortError

MIN_CHARACTERS = 5
"""Shorter values, such as a patient number 17, stand everywhere by chance and are not searched."""

_MIN_INSIDE_WORD = 8
_MIN_OWN_ROWS = 3
_WORD = re.compile(r"[^\W_]+")
_HEX = re.compile(r"(?:[0-9a-f]{2}){5,}", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_DATE_FORMS = ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d%m%Y")


@dataclass(frozen=True)
class PrivateValues:
    """Values to be searched for, folded, with what each of them is and a row that holds it."""

    origins: Mapping[str, str]

    def find(self, text: str) -> str | None:
        """Return what a text holds, such as "the patient_id of row 7", or None.

        Letter case, width and accents' form do not matter. Short values count as whole words
        only. Text in hexadecimal, base64 or percent encoding is decoded, and read backwards.
        """
        for version in _versions(text):
            folded = fold(version)
            for length in self._lengths:
                for start in range(len(folded) - length + 1):
                    part = folded[start : start + length]
                    if part in self.origins and (
                        length >= _MIN_INSIDE_WORD or _stands_alone(folded, start, length)
                    ):
                        return self.origins[part]
        return None

    @cached_property
    def _lengths(self) -> Sequence[int]:
        return sorted({len(value) for value in self.origins})


def _stands_alone(text: str, start: int, length: int) -> bool:
    """Whether no letter or digit touches a part of a text."""
    around = text[max(start - 1, 0) : start] + text[start + length : start + length + 1]
    return not any(character.isalnum() for character in around)


def collect_private(records: Sequence[ImageRecord]) -> PrivateValues:
    """Collect the private values of a table.

    A directory with images of several patients, such as a site's, is not private.
    """
    patients: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name in _path(record).parts[:-1]:
            patients[fold(name)].add(record.patient_id)
    origins: dict[str, str] = {}
    for record in records:
        path = _path(record)
        values = [
            ("patient_id", record.patient_id),
            ("exam_id", record.exam_id),
            *(("captured_on", form) for form in _date_forms(record.captured_on)),
            ("file name", path.stem),
        ]
        folders = [("directory", n) for n in path.parts[:-1] if len(patients[fold(n)]) == 1]
        for what, value in [*values, *folders]:
            folded = fold(value or "")
            if len(folded) >= MIN_CHARACTERS:
                origins.setdefault(folded, f"the {what} of row {record.row}")
    return PrivateValues(origins)


def _path(record: ImageRecord) -> PurePosixPath:
    return PurePosixPath(record.image_path.replace("\\", "/"))


def packed_values(records: Iterable[ImageRecord]) -> Iterator[tuple[str, str, int]]:
    """Yield (column, value, row) of all text that goes into a shard set."""
    names = [column.name for column in PACKED_COLUMNS if column.packed_as == "text"]
    for record in records:
        for name in names:
            value = getattr(record, name)
            if value is not None:
                yield name, value, record.row
        for name, value in record.labels.items():
            if value is not None:
                yield name, value, record.row


def check_packed_values(records: Sequence[ImageRecord]) -> None:
    """Refuse a table whose packed columns hold identifiers of its own patients.

    Raises:
        CohortError: See above; names column and rows, never the value.
    """
    private = collect_private(records)
    checked: dict[tuple[str, str], str | None] = {}
    for column, value, row in packed_values(records):
        key = (column, value)
        if key not in checked:
            checked[key] = private.find(value)
            if checked[key]:
                raise _held(column, f"{checked[key]} in row {row}")
    _check_own_ids(records)


def _check_own_ids(records: Sequence[ImageRecord]) -> None:
    """Refuse a column in which most rows repeat their own patient number, however short."""
    for name in records[0].labels if records else ():
        rows = [
            record.row
            for record in records
            if fold(record.patient_id) in _WORD.findall(fold(record.labels[name] or ""))
        ]
        if len(rows) >= _MIN_OWN_ROWS and 2 * len(rows) > len(records):
            raise _held(name, f"the row's own patient number in {len(rows)} rows")


def _held(column: str, got: str) -> CohortError:
    return CohortError(
        "a packed column holds what identifies people",
        where=f"column {column}",
        got=got,
        hint="take it out of the column, or leave the column out",
    )


def fold(text: str) -> str:
    """Return what spellings of one value have in common."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _date_forms(text: str | None) -> Iterator[str]:
    """Yield the usual spellings of a date, or the text itself where it is no ISO date."""
    if not text:
        return
    yield text
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return
    for form in _DATE_FORMS:
        yield day.strftime(form)


def _versions(text: str) -> Iterator[str]:
    """Yield a text and what it may be an encoding of."""
    yield text
    yield text[::-1]
    if "%" in text:
        yield unquote(text)
    for match in _HEX.finditer(text):
        yield from _decoded(bytes.fromhex(match[0]))
    for match in _BASE64.finditer(text):
        word = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            yield from _decoded(base64.b64decode(word + "=" * (-len(word) % 4)))
        except (binascii.Error, ValueError):
            continue


def _decoded(data: bytes) -> Iterator[str]:
    for encoding in ("utf-8", "utf-16-le"):
        try:
            yield data.decode(encoding)
        except UnicodeDecodeError:
            continue
