import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.transfer_cells import read_cells

HEAD = "model,train,test,path,model_site,test_site\n"


def read(tmp_path, text):
    path = tmp_path / "cells.csv"
    path.write_text(HEAD + text)
    return read_cells(path)


def test_paths_are_those_of_the_tables_folder_and_sites_are_optional(tmp_path):
    a, b = read(tmp_path, "a,S,T,x.parquet,s,t\nb,S,S,y.parquet,,\n")
    assert a.path == tmp_path / "x.parquet"
    assert (a.is_internal, b.is_internal) == (False, True)
    assert (a.is_aligned, b.is_aligned) == (False, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,S,,x,,\nb,S,S,y,,\n", "line 2, column test: a value is missing"),
        ("a,S,S,x,,\na,S,S,y,,\nb,S,S,y,,\n", "line 3: a combination occurs twice"),
        ("a,S,S,x,,\n", "transfer compares two models; got a"),
    ],
)
def test_faults_name_line_and_column(tmp_path, text, message):
    with pytest.raises(EvaluateError, match=message):
        read(tmp_path, text)


def test_a_missing_table_is_an_error(tmp_path):
    with pytest.raises(EvaluateError, match="cannot read the table of files"):
        read_cells(tmp_path / "gone.csv")
