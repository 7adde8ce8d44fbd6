import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from retfm_dist.evaluate.config import BootstrapConfig
from retfm_dist.evaluate.score import metrics_json, score_predictions, trace_roc
from tests.fakes.predictions import predictions

BOOTSTRAP = BootstrapConfig(num_resamples=300, alpha=0.05)


def score(item, **options):
    return score_predictions(item, bootstrap=BOOTSTRAP, seed=0, **options)


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
