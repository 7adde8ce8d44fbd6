"""Spelling of cells: what is padding, what means "missing", and one spelling for one label."""

import re
import unicodedata
from collections.abc import Iterable

_MISSING_LABELS = frozenset(
    {"", "na", "n/a", "n.a.", "nan", "nat", "<na>", "null", "(null)", "\\n", "unknown", "?", "."}
)
_MISSING = _MISSING_LABELS | {"none", "-", "--"}
# What a spreadsheet shows for a formula that failed, and for a column too narrow for its number.
_SPREADSHEET_ERROR = re.compile(
    r"#(n/a|na|ref!|value!|name\?|div/0!|num!|null!|spill!|calc!|field!|blocked!|getting_data|#+)"
)
_WHOLE = re.compile(r"([+-]?)([0-9]+)(?:\.0*)?")
_TRUTH_VALUES = {"true": "1", "false": "0"}
# Invisible, and never part of a value: zero-width spaces and joiners, soft hyphen, byte order mark.
_INVISIBLE = dict.fromkeys([*range(0x200B, 0x2010), *range(0x2060, 0x2065), 0xAD, 0xFEFF])
_PADDING = re.compile(r"^[\s\x00-\x1f\x7f-\x9f]+|[\s\x00-\x1f\x7f-\x9f]+\Z")
_MAX_FORM_CHARACTERS = 20


def strip_padding(text: str) -> str:
    """Remove what surrounds a value without being part of it.

    White space of any script and control characters such as NUL at either end go, invisible
    characters go everywhere, and accents are composed (Unicode NFC).
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    text = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    return _PADDING.sub("", text)


def clean_text(value: str | None) -> str | None:
    """Strip a value; None where it is one of the usual marks for "missing"."""
    text = strip_padding(value or "")
    lower = text.lower()
    return None if lower in _MISSING or _SPREADSHEET_ERROR.fullmatch(lower) else text


def clean_kept(value: str | None) -> str | None:
    """Strip a value of a label column; as `clean_text`, but "none" and "-" are values.

    A grade of "none" says that there is no disease, and a test result may be "-".
    """
    text = strip_padding(value or "")
    lower = text.lower()
    return None if lower in _MISSING_LABELS or _SPREADSHEET_ERROR.fullmatch(lower) else text


def clean_label(value: str | None) -> str | None:
    """Return a label in canonical spelling: 1 for 1.0, +1 and true, 0 for 0.0 and false.

    The same column comes as whole numbers, floats or booleans, depending on what wrote the table.
    """
    text = clean_kept(value)
    if text is None:
        return None
    whole = _WHOLE.fullmatch(text)
    if whole:
        sign, digits = whole.groups()
        return f"-{digits}" if sign == "-" and digits.strip("0") else digits
    return _TRUTH_VALUES.get(text.lower(), text)


def clean_labels(values: Iterable[object]) -> frozenset[str | None]:
    """Return values of a config in canonical spelling: 1, 1.0 and true are the same."""
    return frozenset(clean_label(str(value)) for value in values)


def form_of(text: str) -> str:
    """Return the form of a cell for a message, without its content: 'Aaaaa, Aaaa' or '999A'.

    Cells can hold names and numbers of patients, and messages end up in the logs of jobs.
    """
    form = "".join(_form_of_character(character) for character in text[:_MAX_FORM_CHARACTERS])
    return f"the form {form + ('...' if len(text) > _MAX_FORM_CHARACTERS else '')!r}"


def _form_of_character(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "A" if character.isupper() else "a"
    return character
