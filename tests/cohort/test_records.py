"""Cells of an archive table: one spelling for one meaning, an error for anything unclear."""

import pytest

from retfm_dist.cohort.records import (
    ImageRecord,
    parse_age,
    parse_eye,
    parse_modality,
    parse_path,
    parse_sex,
)
from retfm_dist.errors import CohortError


@pytest.mark.parametrize(
    ("text", "eye"),
    [
        ("L", "left"),
        ("OS", "left"),
        (" Left ", "left"),
        ("r", "right"),
        ("od", "right"),
        ("", None),
    ],
)
def test_eyes_get_one_spelling(text, eye):
    assert parse_eye(text, where="t") == eye


@pytest.mark.parametrize("text", ["both", "OU", "1", "lefteye"])
def test_an_unclear_eye_is_refused(text):
    with pytest.raises(
        CohortError, match=r"row 3, column eye: unknown eye; got the form '.*', expected left"
    ):
        parse_eye(text, where="row 3, column eye")


@pytest.mark.parametrize(
    ("text", "sex"),
    [("F", "female"), ("Male", "male"), ("o", "other"), ("unknown", None), (None, None)],
)
def test_sexes_get_one_spelling(text, sex):
    assert parse_sex(text, where="t") == sex


@pytest.mark.parametrize("text", ["0", "1", "W"])
def test_a_coded_sex_is_refused(text):
    with pytest.raises(CohortError, match="unknown sex"):
        parse_sex(text, where="t")


def test_ages_are_numbers_of_years():
    assert parse_age("63.5", where="t") == 63.5
    assert parse_age("0", where="t") == 0.0
    assert parse_age("NA", where="t") is None


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "131",
        "inf",
        "1950-02-03",
        "about 60",
        "1_0",
        "1e1",
        "\u0666\u0663",
        "\uff16\uff13",
        "+6",
    ],
)
def test_an_impossible_age_is_refused(text):
    with pytest.raises(CohortError, match="unusable age"):
        parse_age(text, where="t")


@pytest.mark.parametrize("parse", [parse_eye, parse_sex, parse_age])
def test_a_message_never_repeats_a_cell(parse):
    with pytest.raises(CohortError, match="row 3.*got the form 'Aaaaa, Aaaa'") as caught:
        parse("Smith, John", where="row 3")
    assert "Smith" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "modality"),
    [
        ("CFP", "cfp"),
        ("Colour fundus photograph", "cfp"),
        ("color_fundus", "cfp"),
        ("Fundus", "cfp"),
        ("OCT", "oct"),
        ("fundus autofluorescence", "fundus autofluorescence"),
        ("-", None),
    ],
)
def test_names_of_color_photographs_are_one_modality(text, modality):
    assert parse_modality(text, where="t") == modality


def test_a_path_loses_its_padding_alone():
    decomposed = "Mu\u0308ller 1.jpg"
    assert parse_path(f" {decomposed}\0\0", where="t") == decomposed
    assert parse_path("-", where="t") == "-"
    assert parse_path("\0", where="t") is None


def test_a_record_does_not_print_identifiers():
    record = ImageRecord(
        row=1,
        image_path="doe_jane.jpg",
        patient_id="NHS123",
        exam_id="E55",
        captured_on="2001-02-03",
    )
    assert not any(text in repr(record) for text in ("doe", "NHS123", "E55", "2001"))
