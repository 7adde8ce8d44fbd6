import dataclasses

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.predictions import (
    Predictions,
    predictions_path,
    read_predictions,
    uid_of,
    write_predictions,
)
from tests.fakes.predictions import predictions


def test_a_uid_is_the_first_64_bits_as_in_the_keys_of_a_shard_set():
    assert uid_of("0123456789abcdef" * 4) == "0123456789abcdef"


def test_predictions_read_back_as_they_were_written(tmp_path):
    item = predictions()
    write_predictions(tmp_path, item)
    found = read_predictions(predictions_path(tmp_path, model="m", task="t", protocol="linear"))
    for field in dataclasses.fields(Predictions):
        assert np.array_equal(getattr(found, field.name), getattr(item, field.name)), field.name


def test_the_file_is_a_plain_table_that_others_read(tmp_path):
    write_predictions(tmp_path, predictions())
    table = pyarrow.parquet.read_table(tmp_path / "predictions" / "m" / "t" / "linear.parquet")
    assert table.column_names == ["uid", "subject_id", "y", "p_0", "p_1", "fold"]
    np.testing.assert_allclose(table["p_0"].to_numpy() + table["p_1"].to_numpy(), 1)


def test_a_directory_named_like_a_partition_adds_no_column(tmp_path):
    write_predictions(tmp_path / "seed=3", predictions())
    path = predictions_path(tmp_path / "seed=3", model="m", task="t", protocol="linear")
    assert read_predictions(path).model == "m"


def test_missing_damaged_or_foreign_predictions_are_errors(tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(
        EvaluateError, match="x.parquet: no predictions; run python -m retfm_dist.evaluate run"
    ):
        read_predictions(path)
    path.write_bytes(b"text")
    with pytest.raises(EvaluateError, match="x.parquet: not a predictions file"):
        read_predictions(path)
    pyarrow.parquet.write_table(pyarrow.table({"p_1": [0.5]}), path)
    with pytest.raises(EvaluateError, match="x.parquet: not a predictions file"):
        read_predictions(path)


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
def test_what_is_no_probability_is_an_error(tmp_path, value):
    item = predictions()
    item.scores[3] = value
    write_predictions(tmp_path, item)
    with pytest.raises(EvaluateError, match=f"row 4: p_1 is not in .0, 1.; got {value}"):
        read_predictions(predictions_path(tmp_path, model="m", task="t", protocol="linear"))
