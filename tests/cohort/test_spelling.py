"""Padding, marks for "missing", canonical labels, and forms without content."""

import pytest

from retfm_dist.cohort.spelling import (
    clean_kept,
    clean_label,
    clean_labels,
    clean_text,
    form_of,
    strip_padding,
)


@pytest.mark.parametrize(
    "text", ["a b", " a b\t", "a b\0\0", "\ufeffa b", "\xa0a b\u3000", "a\u200b b", "\x1fa b\x7f"]
)
def test_padding_of_every_kind_goes(text):
    assert strip_padding(text) == "a b"


def test_accents_are_composed_and_inner_characters_stay():
    assert strip_padding("Mu\u0308ller") == "M\xfcller"
    assert strip_padding("a\0b") == "a\0b"
    assert strip_padding("\0 \0") == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        " n/a ",
        "NULL",
        "None",
        "nan",
        "<NA>",
        "#N/A",
        "#REF!",
        "####",
        "NaT",
        ".",
        "-",
        "?",
        "\\N",
    ],
)
def test_marks_for_missing_are_missing(text):
    assert clean_text(text) is None


def test_zero_is_a_value_and_so_are_none_and_minus_of_a_label():
    assert clean_text(" 0 ") == "0"
    assert [clean_kept(text) for text in ("none", "-", "", "NA", "#DIV/0!")] == [
        "none",
        "-",
        None,
        None,
        None,
    ]


def test_labels_have_one_spelling():
    spellings = {
        "1": ["1", "1.0", "+1", "1.", "TRUE"],
        "0": ["0", "0.00", "-0", "false"],
        "-1": ["-1.0"],
    }
    for label, texts in spellings.items():
        assert {clean_label(text) for text in texts} == {label}
    assert clean_labels([1, 1.0, True, "mild"]) == {"1", "mild"}


def test_a_form_shows_no_content():
    assert form_of("Smith, John") == "the form 'Aaaaa, Aaaa'"
    assert form_of("045Y") == "the form '999A'"
    assert form_of("\u5f20\u4f1f 7") == "the form 'aa 9'"
    assert len(form_of("x" * 500)) < 40
