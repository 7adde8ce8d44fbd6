import json

import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.output import Figure, Judgement, check_output, write_judgement
from retfm_dist.evaluate.judge.tables import Table

TABLE = Table("levels", "Levels <x>", ("a",), [["<script>"]], "n")


def write(out, numbers):
    figures = [Figure("F", "<svg></svg>")]
    judgement = Judgement("score", "T & <i>", ["s < 1"], numbers, [TABLE], figures)
    return write_judgement(out, judgement)


def test_a_judgement_is_numbers_tables_and_a_page(tmp_path):
    page = write(tmp_path / "out", {"x": 1})
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"score.json", "levels.csv", "levels.tex", "report.md", "report.html"}
    body = json.loads((tmp_path / "out" / "score.json").read_text())
    assert body == {"schema": "retfm-score/1", "sentences": ["s < 1"], "x": 1}
    text = page.read_text()
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "<svg></svg>" in text
    assert 'name="viewport"' in text


def test_an_interval_stays_on_one_line(tmp_path):
    table = Table("t", "T", ("a",), [["0.1 (-0.2 to +0.3)"], ["up to 3"]])
    page = write_judgement(tmp_path / "out", Judgement("score", "T", [], {}, [table]))
    text = page.read_text()
    assert "0.1 (-0.2\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}+0.3)" in text
    assert "up to 3" in text


def test_an_earlier_judgement_is_replaced_as_a_whole_and_nothing_else_is_touched(tmp_path):
    out = tmp_path / "out"
    write(out, {"x": 1})
    (out / "levels_old.csv").write_text("old")
    check_output(out)
    write(out, {"x": 2})
    assert not (out / "levels_old.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "thesis").mkdir()
    check_output(tmp_path / "thesis")
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    with pytest.raises(EvaluateError, match="thesis: the directory holds something else; got chap"):
        check_output(tmp_path / "thesis")
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluateError, match="file: a file, not a directory"):
        check_output(tmp_path / "file")
