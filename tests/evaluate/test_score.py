import dataclasses
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from sklearn.metrics import roc_auc_score

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import BootstrapConfig
from retfm_dist.evaluate.predictions import (
    Predictions,
    predictions_path,
    read_predictions,
    write_predictions,
)
from retfm_dist.evaluate.report.examples import GROUPS, PER_GROUP, choose_examples
from retfm_dist.evaluate.score import metrics_json, score_predictions, trace_roc

BOOTSTRAP = BootstrapConfig(num_resamples=300, alpha=0.05)


def predictions(seed=0, *, num_patients=40, effect=1.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_patients) % 2, 2)
    scores = 1 / (1 + np.exp(-rng.normal(effect * (2 * labels - 1))))
    return Predictions(
        model="m",
        task="t",
        protocol="linear",
        uids=np.array([f"{i:016x}" for i in range(2 * num_patients)]),
        subject_ids=np.repeat([f"{i:012x}" for i in range(num_patients)], 2),
        labels=labels,
        scores=scores,
        folds=np.arange(2 * num_patients) // 4 % 4,
        fits=({"c": 0.1, "c_at_grid_edge": False, "converged": True},),
    )


def score(item, **options):
    return score_predictions(item, bootstrap=BOOTSTRAP, seed=0, **options)


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


def test_a_planted_effect_has_an_interval_above_chance_and_an_absent_one_has_not():
    planted, absent = score(predictions(effect=1.0)), score(predictions(effect=0.0))
    assert planted.interval.low > 0.5
    assert absent.interval.low < 0.5 < absent.interval.high
    assert planted.value == pytest.approx(roc_auc_score(predictions().labels, predictions().scores))
    assert planted.interval.low < planted.value < planted.interval.high
    assert (planted.num_images, planted.num_patients) == (80, 40)


def test_numbers_do_not_depend_on_how_patients_are_called():
    item = predictions()
    renamed = dataclasses.replace(
        item, subject_ids=np.array([name[::-1] for name in item.subject_ids])
    )
    assert score(renamed) == score(item)


def test_metrics_have_the_same_bytes_each_time_and_follow_the_predictions():
    def text(item):
        return json.dumps(metrics_json([score(item)], bootstrap=BOOTSTRAP), sort_keys=True)

    assert text(predictions()) == text(predictions())
    assert text(predictions()) != text(predictions(seed=1))


def test_metrics_state_value_interval_method_and_sizes():
    entry = metrics_json([score(predictions())], bootstrap=BOOTSTRAP)["results"][0]
    auroc = entry["metrics"]["auroc"]
    assert auroc["lo"] < auroc["value"] < auroc["hi"]
    assert auroc["method"].startswith("patient-cluster bootstrap")
    assert "B = 300, 95%" in auroc["method"]
    assert (auroc["n_images"], auroc["n_patients"], auroc["n_positive_patients"]) == (80, 40, 20)
    assert 0.5 < entry["metrics"]["auroc_within_folds"]["value"] < 1
    assert entry["fits"][0]["c"] == 0.1


def test_too_few_patients_give_a_value_a_note_and_no_interval():
    entry = metrics_json([score(predictions(num_patients=18))], bootstrap=BOOTSTRAP)["results"][0]
    auroc = entry["metrics"]["auroc"]
    assert auroc["value"] > 0.5
    assert (auroc["lo"], auroc["hi"]) == (None, None)
    assert "insufficient: 9 positive and 9 negative patients" in auroc["note"]


def test_the_band_encloses_the_curve_and_is_absent_without_an_interval():
    item = predictions()
    curve = trace_roc(item, score(item), bootstrap=BOOTSTRAP, seed=0)
    heights = np.interp(curve.rates[20:80], curve.points[:, 0], curve.points[:, 1])
    assert (curve.low[20:80] <= heights + 0.05).all()
    assert (heights - 0.05 <= curve.high[20:80]).all()
    assert (curve.high - curve.low).mean() > 0.02
    few = predictions(num_patients=12)
    assert trace_roc(few, score(few), bootstrap=BOOTSTRAP, seed=0).low is None


def test_examples_are_the_ends_of_each_class():
    item = predictions()
    chosen = choose_examples(item)
    assert [e.group for e in chosen] == [group for group in GROUPS for _ in range(PER_GROUP)]
    positive = np.sort(item.scores[item.labels == 1])
    negative = np.sort(item.scores[item.labels == 0])
    found = {group: [item.scores[e.index] for e in chosen if e.group == group] for group in GROUPS}
    assert found["positive_high"] == positive[::-1][:4].tolist()
    assert found["positive_low"] == positive[:4].tolist()
    assert found["negative_low"] == negative[:4].tolist()
    assert found["negative_high"] == negative[::-1][:4].tolist()


def test_no_example_is_shown_twice_in_a_small_class():
    chosen = choose_examples(predictions(num_patients=3))
    indices = [example.index for example in chosen]
    assert len(indices) == len(set(indices))
