import dataclasses

import numpy as np
import pyarrow.parquet
import pytest

from retfm_dist.evaluate.predictions import (
    Predictions,
    predictions_path,
    uid_of,
    write_predictions,
)
from retfm_dist.evaluate.predictions_file import read_predictions
from tests.fakes.predictions import predictions


def test_a_uid_is_the_first_64_bits_as_in_the_keys_of_a_shard_set():
    assert uid_of("0123456789abcdef" * 4) == "0123456789abcdef"


def test_predictions_read_back_as_they_were_written(tmp_path):
    sexes = np.array(["F", None] * 40, object)
    item = predictions(attributes={"sex": sexes}, reciprocity=0.4)
    write_predictions(tmp_path, item)
    found = read_predictions(predictions_path(tmp_path, model="m", task="t", protocol="linear"))
    for field in dataclasses.fields(Predictions):
        if field.name == "attributes":
            assert found.attributes["sex"].tolist() == item.attributes["sex"].tolist()
        else:
            same = np.array_equal(getattr(found, field.name), getattr(item, field.name))
            assert same, field.name


def test_the_file_is_a_plain_table_that_others_read(tmp_path):
    write_predictions(tmp_path, predictions())
    table = pyarrow.parquet.read_table(tmp_path / "predictions" / "m" / "t" / "linear.parquet")
    assert table.column_names == ["uid", "subject_id", "y", "p_0", "p_1", "fold", "repeat"]
    assert table.num_rows == 6 * 80
    np.testing.assert_allclose(table["p_0"].to_numpy() + table["p_1"].to_numpy(), 1)


def test_a_directory_named_like_a_partition_adds_no_column(tmp_path):
    write_predictions(tmp_path / "seed=3", predictions())
    path = predictions_path(tmp_path / "seed=3", model="m", task="t", protocol="linear")
    assert read_predictions(path).model == "m"


def test_the_score_of_an_image_is_its_mean_over_replicates():
    item = predictions()
    assert item.scores == pytest.approx(item.probabilities[:, :, 1].mean(axis=0))
    assert (item.design.kind, item.design.num_folds) == ("cross_validation", 4)
    assert item.design.reciprocity == 1.0
