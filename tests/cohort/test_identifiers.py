"""Identifiers: whatever happened to them on the way is refused or repaired, in CSV and Parquet alike."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retfm_dist.cohort.identifiers import check_identifiers
from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import CohortError

MISSING = ["", "#N/A", "#REF!", "#NAME?", "#####", "<NA>", "NaT", "nan", "null", "None", ".", "-", "--", "?",
           "\\N", "0", "000", "-1", "\0\0", "\u200b", "n.a.", "unknown", "***"]  # fmt: skip
DAMAGED = {
    "scientific notation": ["1.20034E+11", "1,20034E+11", "1E+05", "1.5e11", "-2.5E+10", "7e-05"],
    "with decimals": ["12003.0", "12003.00", "12003."],
    "a date": ["2024-03-01", "2024-03-01 00:00:00", "1/3/2024", "01.03.24", "2-Jan", "Mar-05", "3-sep-24"],
    "a formula": ["=A1", "=12+3", "=VLOOKUP(A1,B:C,2)"],
    "a truth value": ["TRUE", "false"],
    "lost or control characters": ["M\ufffdller", "12\x0034", "12\n34"],
}  # fmt: skip
ALIKE = [("p001", "P001"), ("007", "7"), ("P007", "P7"), ("12 345", "12345"), ("1,234", "1234"), ("\uff11\uff12", "12"),
         ("A\u201312", "A-12"), ("stra\xdfe", "STRASSE"), ("A-012", "a-12")]  # fmt: skip
REPAIRED = {
    "P1\0": "P1", "P1\0\0\0": "P1", " P1 ": "P1", "P1\t": "P1", "\ufeffP1": "P1", "P\u200b1": "P1", "\xa0P1": "P1",
    '="00123"': "00123", "'00123": "00123", "Mu\u03081": "M\xfc1",
}  # fmt: skip
SOUND = [
    "00123",
    "12E5",
    "NHS-943 476 5919",
    "1-2",
    "H000012",
    "a.b.3",
    "943.47.65919",
    "2024",
    "\u5f2001",
    "x" * 300,
]


def read(tmp_path, ids, *, kind, **options):
    """Write the ids as a table of the kind and return those that are read."""
    columns = {"image_path": [f"{i}.png" for i in range(len(ids))], "patient_id": ids}
    if kind == "parquet":
        pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    else:
        with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])
    records = read_archive_table(tmp_path / f"table.{kind}", **options)
    return [record.patient_id for record in records]


KINDS = pytest.mark.parametrize("kind", ["csv", "parquet"])


@KINDS
@pytest.mark.parametrize("mark", MISSING)
def test_a_mark_for_missing_is_nobody(tmp_path, kind, mark):
    with pytest.raises(
        CohortError,
        match="column patient_id: the value is missing; got no identifier in 2 rows .2, 3.",
    ):
        read(tmp_path, ["P1", mark, mark, "P2"], kind=kind, ids_as_written=True)


@KINDS
@pytest.mark.parametrize(
    ("damage", "text"), [(d, text) for d, texts in DAMAGED.items() for text in texts]
)
def test_a_damaged_identifier_is_refused_with_its_rows(tmp_path, kind, damage, text):
    ids = ["P1", text, text, "P2"]
    message = f"column patient_id: identifiers are damaged; got .*{damage}.* in 2 rows .2, 3.*--ids-as-written"
    with pytest.raises(CohortError, match=message) as caught:
        read(tmp_path, ids, kind=kind)
    assert text not in str(caught.value)


@KINDS
def test_numbers_cut_at_fifteen_digits_are_refused(tmp_path, kind):
    cut = ["123456789012345000", "123456789012346000"]
    with pytest.raises(CohortError, match="more than 15 digits that all end in zeros in 2 rows"):
        read(tmp_path, cut, kind=kind)
    assert read(tmp_path, [cut[0], "123456789012346001"], kind=kind) == [
        cut[0],
        "123456789012346001",
    ]


@KINDS
@pytest.mark.parametrize("pair", ALIKE)
def test_two_spellings_of_one_person_are_refused(tmp_path, kind, pair):
    with pytest.raises(
        CohortError, match="differ in spelling alone.*got 2 such identifiers, first in rows 2 and 4"
    ):
        read(tmp_path, ["X", pair[0], "Y", pair[1], pair[0]], kind=kind)
    assert read(tmp_path, list(pair), kind=kind, ids_as_written=True) == list(pair)


@KINDS
@pytest.mark.parametrize(("text", "expected"), REPAIRED.items())
def test_padding_is_repaired_and_counted(tmp_path, kind, text, expected, caplog):
    assert read(tmp_path, [text, expected, "Q"], kind=kind) == [expected, expected, "Q"]
    assert "padding was removed from the identifiers of 1 rows" in caplog.text


@KINDS
@pytest.mark.parametrize("text", SOUND)
def test_sound_identifiers_stay_as_they_are(tmp_path, kind, text, caplog):
    assert read(tmp_path, [text, "other"], kind=kind) == [text, "other"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1.0, 2.0]), "stored as floating-point"),
        (pa.array([1.0, 2.0]).dictionary_encode(), "stored as floating-point"),
        (pa.array([True, False]), "does not hold identifiers; got bool"),
        (pa.array([["P1"], ["P2"]]), "does not hold identifiers; got list"),
        (pa.array([b"\xff\xfe", b"P2"]), "bytes that are no text"),
        (pa.array([1, 2], pa.timestamp("s")), "identifiers are damaged; got a date"),
        (pa.array(["1.00", "2.00"]).cast(pa.decimal128(9, 2)), "with decimals"),
    ],
)  # fmt: skip
def test_a_parquet_type_that_loses_identifiers_is_refused(tmp_path, column, message):
    with pytest.raises(CohortError, match=message):
        read(tmp_path, column, kind="parquet")


def test_whole_numbers_bytes_and_dictionaries_are_identifiers(tmp_path):
    assert read(tmp_path, pa.array([12, 2**63 - 1]), kind="parquet") == ["12", str(2**63 - 1)]
    assert read(tmp_path, pa.array([b"P1\0", b"P2"]), kind="parquet") == ["P1", "P2"]
    assert read(tmp_path, pa.array(["P1", "P2"]).dictionary_encode(), kind="parquet") == [
        "P1",
        "P2",
    ]


def test_as_written_accepts_what_looks_damaged_but_not_nobody():
    cells = [(1, "12003.0"), (2, "12003.00")]
    assert check_identifiers(cells, where="t", as_written=True) == ["12003.0", "12003.00"]
    with pytest.raises(CohortError, match="missing"):
        check_identifiers([(1, None)], where="t", as_written=True)
