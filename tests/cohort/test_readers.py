"""Files as spreadsheets and exports write them: read right, or refused with the way out."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retfm_dist.cohort.readers import has_semicolons, read_cells
from retfm_dist.errors import CohortError

HEADER = "image_path,patient_id,device\n"


def read(tmp_path, data):
    path = tmp_path / "table.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    columns, rows = read_cells(path)
    return columns, list(rows)


@pytest.mark.parametrize(
    "text",
    [
        "image_path,patient_id,,,\r\na,P1,,,\r\nb,P2,,,\r\n",
        "image_path,patient_id\r\na,P1\r\nb,P2\r\n,\r\n,\r\n",
        "image_path,patient_id\na,P1,,\nb,P2\n",
        "\n\nimage_path,patient_id\na,P1\nb,P2\n\n",
        "\ufeffimage_path , patient_id\na,P1\nb,P2\n \t,\xa0\n",
    ],
)
def test_empty_edges_of_a_spreadsheet_are_left_out(tmp_path, text):
    columns, rows = read(tmp_path, text)
    assert columns == ["image_path", "patient_id"]
    assert rows == [
        (1, {"image_path": "a", "patient_id": "P1"}),
        (2, {"image_path": "b", "patient_id": "P2"}),
    ]


def test_empty_rows_and_columns_of_a_parquet_file_are_left_out(tmp_path):
    columns = {
        "image_path": ["a", None, "b", ""],
        "patient_id": ["P1", None, "P2", " "],
        "": [None] * 4,
    }
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    names, rows = read_cells(tmp_path / "table.parquet")
    assert names == ["image_path", "patient_id"]
    assert [row for row, _ in rows] == [1, 3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark"])
def test_unicode_with_or_without_its_mark_is_read(tmp_path, encoding):
    text = HEADER + "a,P1,\u4f73\u80fd CR-2\n"
    data = b"\xff\xfe" + text.encode("utf-16-le") if "mark" in encoding else text.encode(encoding)
    assert read(tmp_path, data)[1][0][1]["device"] == "\u4f73\u80fd CR-2"


@pytest.mark.parametrize(
    ("encoding", "device"),
    [("gb18030", "\u4f73\u80fd"), ("latin-1", "K\xf6ln"), ("shift_jis", "\u65e5\u672c")],
)
def test_another_encoding_is_refused_with_its_line_and_the_way_out(tmp_path, encoding, device):
    lines = [f"{i}.png,P{i},plain" for i in range(600)]
    lines[498] = f"498.png,P498,{device}"
    data = (HEADER + "\n".join(lines) + "\n").encode(encoding)
    message = r'table.csv: line 500: not a readable CSV file; got bytes that are not UTF-8.*"CSV UTF-8".*GB18030'
    with pytest.raises(CohortError, match=message):
        read(tmp_path, data)


def test_a_row_of_another_width_is_named_by_row_and_line(tmp_path):
    with pytest.raises(
        CohortError, match=r"row 2 \(line 3\): the row does not fit.*got 4 cells, expected 3"
    ):
        read(tmp_path, HEADER + "a,P1,x\nb,P2,x,y\n")
    with pytest.raises(CohortError, match=r"row 1 \(line 2\).*got 2 cells"):
        read(tmp_path, HEADER + "a,P1\n")


def test_numbers_of_parquet_become_text_as_in_a_csv(tmp_path):
    pq.write_table(
        pa.table({"x": [1.0, 0.5, None], "y": [True, False, None], "z": [3, None, 4]}),
        tmp_path / "t.parquet",
    )
    _, rows = read_cells(tmp_path / "t.parquet")
    assert [line for _, line in rows] == [
        {"x": "1", "y": "1", "z": "3"}, {"x": "0.5", "y": "0", "z": None}, {"x": None, "y": None, "z": "4"},
    ]  # fmt: skip


def test_semicolons_are_recognized():
    assert has_semicolons(["a;b"])
    assert not has_semicolons(["a", "b;c"])
