import csv
import io

import pytest

from retfm_dist.evaluate.judge.tables import Table, markdown_text, number, p_text, span

TABLE = Table("t", "A | title", ("a_b", "50 %"), [["<b>", "x & y"], ["1,5", "#"]], "note *")


def test_cells_survive_every_form():
    assert list(csv.reader(io.StringIO(TABLE.csv())))[1:] == TABLE.rows
    assert r"<b> & x \& y \\" in TABLE.latex()
    assert r"a\_b & 50 \% \\" in TABLE.latex()
    lines = TABLE.markdown().splitlines()
    assert lines[0] == r"## A \| title"
    assert r"| \<b\> | x \& y |" in lines
    assert lines[-1] == r"note \*"


def test_people_read_titles_and_programs_short_names():
    table = Table("t", "T", ("metric", "mcc"), [["f1", "0.1"]], titles={"mcc": "MCC", "f1": "F1"})
    assert table.csv() == "metric,mcc\nf1,0.1\n"
    assert r"metric & MCC \\" in table.latex()
    assert "| F1 | 0.1 |" in table.markdown()
    assert table.shown(table.headings) == ["metric", "MCC"]


def test_markdown_has_no_way_out_of_a_cell():
    assert markdown_text("a|b\n# c [x](y) <i>") == r"a\|b \# c \[x\](y) \<i\>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(None), "-"), (number(float("nan")), "-"), (number(0.1234), "0.123"),
        (number(0.1, signed=True), "+0.100"), (span(None, 1.0), "-"), (span(0.1, 0.2), "0.100 to 0.200"),
        (p_text(0.0001), "< 0.001"), (p_text(0.05), "0.050"), (p_text(None), "-"),
    ],
)  # fmt: skip
def test_numbers_are_shown_as_people_write_them(text, expected):
    assert text == expected
