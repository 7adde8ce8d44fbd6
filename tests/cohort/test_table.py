"""Archive tables: what is read, what is dropped, what is refused and in which words."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import CohortError

HEADER = "image_path,patient_id,eye,age,sex,label_dr,nurse\n"
ROWS = "a.jpg,007,L,63,F,2,Ann\nb.jpg,007,,,,,Bob\n"


def write(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


def test_csv_rows_become_records(tmp_path):
    first, second = read_archive_table(write(tmp_path, HEADER + ROWS))
    assert (first.row, first.image_path, first.patient_id) == (1, "a.jpg", "007")
    assert (first.eye, first.age, first.sex) == ("left", 63.0, "female")
    assert (second.row, second.eye, second.age, second.sex) == (2, None, None, None)


def test_unknown_columns_are_dropped_unless_named(tmp_path):
    path = write(tmp_path, HEADER + ROWS)
    assert read_archive_table(path)[0].labels == {"label_dr": "2"}
    kept = read_archive_table(path, keep_columns=["nurse"])
    assert [record.labels for record in kept] == [
        {"label_dr": "2", "nurse": "Ann"},
        {"label_dr": None, "nurse": "Bob"},
    ]


def test_parquet_gives_the_same_records_as_csv(tmp_path):
    columns = {
        "image_path": ["a.jpg", "b.jpg"],
        "patient_id": ["007", "007"],
        "eye": ["L", None],
        "age": [63, None],
        "sex": ["F", None],
        "label_dr": [2, None],
        "nurse": ["Ann", "Bob"],
    }
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    from_csv = read_archive_table(write(tmp_path, HEADER + ROWS), keep_columns=["nurse"])
    assert read_archive_table(tmp_path / "table.parquet", keep_columns=["nurse"]) == from_csv


def test_byte_order_mark_quotes_and_windows_lines_are_read(tmp_path):
    text = '\ufeffimage_path,patient_id,device\r\n"a, b.jpg",1,"Topcon ""TRC"""\r\n'
    (record,) = read_archive_table(write(tmp_path, text))
    assert (record.image_path, record.device) == ("a, b.jpg", 'Topcon "TRC"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "a column is missing; got 0 columns, of them known: none, expected a column image_path",
        ),
        (
            "image_path,eye\na.jpg,L\n",
            "table.csv: a column is missing.*expected a column patient_id",
        ),
        (
            "image_path;patient_id\na.jpg;1\n",
            "got 1 columns, of them known: none, .*; separate the columns by commas",
        ),
        ("image_path,patient_id\n", "table.csv: the table has no rows"),
        ("image_path,patient_id,eye,eye\na,1,L,L\n", "names a column twice; got eye"),
        ("image_path,patient_id\na.jpg,1\n,2\n", "row 2, column image_path: the value is missing"),
        (
            "image_path,patient_id\na.jpg, NA \n",
            "column patient_id: the value is missing; got no identifier in 1 row \\(1\\)",
        ),
        (
            "image_path,patient_id\na.jpg,1,x\n",
            "row 1 \\(line 2\\): the row does not fit.*got 3 cells, expected 2",
        ),
        (
            "image_path,patient_id,eye\na.jpg,1,LR\n",
            "row 1, column eye: unknown eye; got the form 'AA'",
        ),
        ('image_path,patient_id\n"a.jpg,1\n', "not a readable CSV file"),
        (b"image_path,patient_id\n\xff\xfe.jpg,1\n", "not a readable CSV file"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, message):
    with pytest.raises(CohortError, match=message):
        read_archive_table(write(tmp_path, text))


def test_an_image_listed_twice_is_refused_without_naming_it(tmp_path):
    text = "image_path,patient_id\nx/doe.jpg,1\nb.jpg,2\n./x//doe.jpg,1\n"
    with pytest.raises(CohortError, match="row 3, column image_path.*the file of row 1") as caught:
        read_archive_table(write(tmp_path, text))
    assert "doe" not in str(caught.value)


def test_a_kept_column_must_exist(tmp_path):
    with pytest.raises(CohortError, match="expected a column grade"):
        read_archive_table(write(tmp_path, HEADER + ROWS), keep_columns=["grade"])


@pytest.mark.parametrize("column", ["patient_id", "image_path", "exam_id", "captured_on"])
def test_identifying_columns_are_never_kept(tmp_path, column):
    text = "image_path,patient_id,exam_id,captured_on\na,1,2,3\n"
    with pytest.raises(CohortError, match=f"identifies people and is never kept; got {column}"):
        read_archive_table(write(tmp_path, text), keep_columns=[column])


def test_other_kinds_of_files_are_refused(tmp_path):
    with pytest.raises(CohortError, match="unknown kind of table; got .xlsx, expected .csv or"):
        read_archive_table(write(tmp_path, "", "table.xlsx"))
    with pytest.raises(CohortError, match="not a readable Parquet file"):
        read_archive_table(write(tmp_path, "not parquet", "table.parquet"))
    with pytest.raises(CohortError, match="cannot read the table; got No such file"):
        read_archive_table(tmp_path / "none.csv")


def test_identifiers_stored_as_floats_are_refused(tmp_path):
    pq.write_table(pa.table({"image_path": ["a"], "patient_id": [1.0]}), tmp_path / "table.parquet")
    with pytest.raises(CohortError, match="column patient_id: identifiers are stored as floating"):
        read_archive_table(tmp_path / "table.parquet")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["1", "0", "2", ""], ["1", "0", "2", None]),
        ([1, 0, 2, None], ["1", "0", "2", None]),
        ([1.0, 0.0, 2.0, None], ["1", "0", "2", None]),
        ([1.0, 0.5, float("nan"), None], ["1", "0.5", None, None]),
        ([True, False, True, None], ["1", "0", "1", None]),
        (["1.0", "0.", "true", "FALSE"], ["1", "0", "1", "0"]),
        (["mild", "01", "-1.0", "+1", "-0"], ["mild", "01", "-1", "1", "0"]),
        (["none", "None", "-", "#N/A", "."], ["none", "None", "-", None, None]),
        (["a\0", "a", "\u200ba", "\xa0a"], ["a", "a", "a", "a"]),
    ],
)
def test_a_label_has_one_spelling_in_csv_and_parquet(tmp_path, column, expected):
    size = len(column)
    columns = {"image_path": [f"{i}.png" for i in range(size)], "patient_id": ["p"] * size}
    pq.write_table(pa.table({**columns, "label_x": column}), tmp_path / "table.parquet")
    lines = ["image_path,patient_id,label_x"]
    lines += [f"{i}.png,p,{'' if value is None else value}" for i, value in enumerate(column)]
    write(tmp_path, "\n".join(lines) + "\n", "table.csv")
    for name in ("table.parquet", "table.csv"):
        records = read_archive_table(tmp_path / name)
        assert [record.labels["label_x"] for record in records] == expected, name


def test_a_column_kept_by_name_stays_as_it_is(tmp_path):
    path = write(tmp_path, "image_path,patient_id,version\na.png,p,2.0\n", "table.csv")
    (record,) = read_archive_table(path, keep_columns=["version"])
    assert record.labels == {"version": "2.0"}


def test_a_missing_header_does_not_leak_the_first_row(tmp_path):
    with pytest.raises(
        CohortError, match="got 2 columns, of them known: none.*first line"
    ) as caught:
        read_archive_table(write(tmp_path, "doe.jpg,NHS-12345\n"))
    assert "NHS" not in str(caught.value)
    text = "image_path,patient_id,Doe,Doe\na,P1,,\n"
    with pytest.raises(CohortError, match="twice; got one name in columns 3 and 4") as caught:
        read_archive_table(write(tmp_path, text))
    assert "Doe" not in str(caught.value)


def test_a_header_in_other_spelling_is_named(tmp_path):
    with pytest.raises(
        CohortError, match="expected a column patient_id; rename the column 'Patient ID'"
    ):
        read_archive_table(write(tmp_path, "image_path,Patient ID\na,P1\n"))


def test_a_column_with_values_but_no_name_is_refused(tmp_path):
    with pytest.raises(CohortError, match="a column with values has no name; got column 2"):
        read_archive_table(write(tmp_path, "image_path,,patient_id\na,x,P1\n"))


def test_labels_that_may_mean_something_else_are_warned_of(tmp_path, caplog):
    text = "image_path,patient_id,label_dr\na,P1,none\nb,P2,None\nc,P3,Mild\nd,P4,mild \ne,P5,\n"
    records = read_archive_table(write(tmp_path, text))
    assert [record.labels["label_dr"] for record in records] == [
        "none",
        "None",
        "Mild",
        "mild",
        None,
    ]
    messages = [record.getMessage() for record in caplog.records]
    assert "column label_dr: 2 cells say none, which is kept as a class" in messages[0]
    assert "rows 1 and 2 hold labels that differ in letter case" in messages[1]
    assert "rows 3 and 4 hold labels that differ in letter case" in messages[2]
    assert len(messages) == 3


def test_rows_keep_their_numbers_across_empty_ones(tmp_path):
    text = "image_path,patient_id\na,P1\n,\n\nb,P2\n"
    assert [record.row for record in read_archive_table(write(tmp_path, text))] == [1, 4]
