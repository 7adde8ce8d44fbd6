"""Identifiers of patients as a whole column: repaired where that is safe, otherwise refused.

Folds, pseudonyms and privacy rest on these values. What a spreadsheet, an export or a database
does to them merges people or splits them, and nothing later can notice.

    repaired    padding and invisible characters around a value, ="..." and a leading apostrophe
    refused     no value; a number in scientific notation, with decimals or cut at 15 digits; a
                date, a formula, a truth value; lost or control characters; two spellings that
                differ in case, zeros, width, separators of thousands or white space alone
"""

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

from retfm_dist.cohort.spelling import clean_text, form_of, strip_padding
from retfm_dist.errors import CohortError

logger = logging.getLogger(__name__)

_NUM_ROWS_SHOWN = 5
_EXACT_DIGITS = 15  # what a spreadsheet keeps of a number
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_AS_TEXT = "format the column as text before it is opened or exported, and export it again"
_DAMAGES: Mapping[str, re.Pattern[str]] = {
    "a number in scientific notation, which has lost digits": re.compile(
        r"[+-]?[0-9]+([.,][0-9]+)?e[+-][0-9]+|[+-]?[0-9]+[.,][0-9]+e[0-9]+", re.IGNORECASE
    ),
    "a number with decimals, as floating-point columns are exported": re.compile(r"[0-9]+\.0*"),
    "a date": re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].*)?|[0-9]{1,2}[/.][0-9]{1,2}[/.][0-9]{2,4}"
        rf"|[0-9]{{1,2}}-({_MONTHS})(-[0-9]{{2,4}})?|({_MONTHS})-[0-9]{{1,4}}",
        re.IGNORECASE,
    ),
    "a formula": re.compile(r"=.*", re.DOTALL),
    "a truth value": re.compile(r"true|false", re.IGNORECASE),
    "a text with lost or control characters": re.compile(
        r".*[\ufffd\x00-\x1f\x7f-\x9f].*", re.DOTALL
    ),
}  # fmt: skip
_QUOTED_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
_THOUSANDS = re.compile(r"[0-9]{1,3}([ ,.'\u2019\u00a0\u202f][0-9]{3})+")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d"), "-")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


Numbered = Sequence[tuple[int, str]]


def check_identifiers(
    cells: Sequence[tuple[int, str | None]], *, where: str, as_written: bool = False
) -> list[str]:
    """Return the patients' identifiers, one per row, without padding.

    Args:
        cells: Row and cell of the column, in the order of the rows.
        where: File and column, for the message.
        as_written: Accept values that look damaged, and values that are nearly alike as
            different people; a missing one is still refused.

    Raises:
        CohortError: A row has no identifier, one looks damaged, or two are nearly alike.
    """
    ids = [(row, _repair(value or "")) for row, value in cells]
    missing = [row for row, text in ids if _is_missing(text)]
    if missing:
        raise CohortError(
            "the value is missing",
            where=where,
            got=f"no identifier in {_rows(missing)}",
            expected="one in every row",
            hint="marks such as #N/A, <NA>, -, . or 0 name nobody; fill them in or remove the rows",
        )
    if not as_written:
        _refuse_damaged(ids, where=where)
        _refuse_alike(ids, where=where)
    count = sum(new != old for (_, new), (_, old) in zip(ids, cells, strict=True))
    if count:
        logger.warning("%s: padding was removed from the identifiers of %d rows", where, count)
    return [text for _, text in ids]


def _repair(value: str) -> str:
    """Remove what is not part of an identifier."""
    text = strip_padding(value)
    quoted = _QUOTED_FORMULA.fullmatch(text)  # how an export keeps a spreadsheet's hands off
    if quoted:
        text = strip_padding(quoted[1])
    return text.removeprefix("'")


def _is_missing(text: str) -> bool:
    """Whether a value names nobody: no letter or digit, a mark for "missing", zeros, or -1."""
    return clean_text(text) is None or not text.strip("0") or text == "-1" or not any(
        character.isalnum() for character in text
    )  # fmt: skip


def _refuse_damaged(ids: Numbered, *, where: str) -> None:
    """Refuse values that are not what the hospital wrote."""
    for damage, pattern in _DAMAGES.items():
        found = [(row, text) for row, text in ids if pattern.fullmatch(text)]
        if found:
            rows = _rows([row for row, _ in found])
            raise _damaged(f"{damage} ({form_of(found[0][1])}) in {rows}", where=where)
    long = {text for _, text in ids if text.isdigit() and len(text) > _EXACT_DIGITS}
    if len(long) > 1 and all(not text[_EXACT_DIGITS:].strip("0") for text in long):
        rows = _rows([row for row, text in ids if text in long])
        cut = f"numbers of more than {_EXACT_DIGITS} digits that all end in zeros in {rows}"
        raise _damaged(cut, where=where)


def _damaged(got: str, *, where: str) -> CohortError:
    return CohortError(
        "identifiers are damaged",
        where=where,
        got=got,
        expected="the hospital's own numbers, as text",
        hint=f"{_AS_TEXT}; if they are right as they are, say --ids-as-written",
    )


def _refuse_alike(ids: Numbered, *, where: str) -> None:
    """Refuse values that are likely to be two spellings of one person."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for text in {text for _, text in ids}:
        spellings[_fold(text)].add(text)
    alike = {text for group in spellings.values() if len(group) > 1 for text in group}
    if not alike:
        return
    first_rows: dict[str, int] = {}
    for row, text in ids:
        if text in alike:
            first_rows.setdefault(text, row)
    pair = next(group for group in spellings.values() if len(group) > 1)
    first, second = sorted(first_rows[text] for text in pair)[:2]
    raise CohortError(
        "identifiers differ in spelling alone, so that one person may count as two",
        where=where,
        got=f"{len(alike)} such identifiers, first in rows {first} and {second}",
        expected="one spelling per person (letter case, leading zeros, spaces, full width)",
        hint="spell them alike; if they are different people, say --ids-as-written",
    )


def _fold(text: str) -> str:
    """Return what two spellings of one identifier have in common."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_DASHES)
    if _THOUSANDS.fullmatch(folded):
        folded = "".join(filter(str.isdigit, folded))
    folded = "".join(folded.split())
    return _LEADING_ZEROS.sub("", folded)


def _rows(rows: Sequence[int]) -> str:
    """Return "3 rows (2, 5, 9)", shortened."""
    shown = ", ".join(map(str, rows[:_NUM_ROWS_SHOWN]))
    more = ", ..." if len(rows) > _NUM_ROWS_SHOWN else ""
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} ({shown}{more})"
