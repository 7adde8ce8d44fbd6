"""Against a real MLflow on a local sqlite file."""

import json
import logging
import threading

import pytest

from retfm_dist.errors import RetfmError
from retfm_dist.tracking import NullTracker, local_uri, open_tracker

# MLflow 3.17 maps its tables with what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture
def opened(tmp_path):
    """Open a tracker on this test's own database; given a name, on another one."""

    def open_it(**changes):
        settings = {
            "uri": None,
            "experiment": "test",
            "run_name": "a run",
            "home": tmp_path,
            "id_path": tmp_path / "run" / "tracking.json",
        }
        return open_tracker(**(settings | changes))

    return open_it


@pytest.fixture
def client(tmp_path):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=local_uri(tmp_path))


def run_id(tmp_path):
    return json.loads((tmp_path / "run" / "tracking.json").read_text())["mlflow_run_id"]


def steps_of(client, tmp_path, name="train/loss"):
    history = client.get_metric_history(run_id(tmp_path), name)
    return [(metric.step, metric.value) for metric in sorted(history, key=lambda m: m.step)]


def test_restarts_are_one_continuous_run(tmp_path, opened, client, caplog):
    tracker = opened()
    tracker.log_params({"model.depth": 2, "optimizer.betas": [0.9, 0.95]})
    for step in (10, 20, 30):
        tracker.log_metrics({"train/loss": 1 / step, "train/lr": 0.1}, step=step)
    tracker.close("FAILED")
    first = run_id(tmp_path)
    assert client.get_run(first).info.status == "FAILED"

    # Resumed from step 20: step 30 comes again, and the settings too.
    tracker = opened()
    tracker.log_params({"model.depth": 2, "model.width": 8})
    for step in (30, 40):
        tracker.log_metrics({"train/loss": 1 / step, "train/lr": 0.1}, step=step)
    tracker.close("FINISHED")

    assert run_id(tmp_path) == first
    run = client.get_run(first)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "a run")
    assert run.data.params == {
        "model.depth": "2", "optimizer.betas": "[0.9, 0.95]", "model.width": "8",
    }  # fmt: skip
    assert steps_of(client, tmp_path) == [(step, 1 / step) for step in (10, 20, 30, 40)]
    assert [experiment.name for experiment in client.search_experiments()] == ["test", "Default"]
    assert "tracking" not in caplog.text


def test_a_run_that_the_server_does_not_know_begins_anew(tmp_path, opened, client):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tracking.json").write_text('{"mlflow_run_id": "' + "0" * 32 + '"}')
    tracker = opened()
    tracker.log_metrics({"train/loss": 2.0}, step=5)
    tracker.close("FINISHED")
    assert run_id(tmp_path) != "0" * 32
    assert steps_of(client, tmp_path) == [(5, 2.0)]


def test_a_server_that_fails_is_one_warning(tmp_path, opened, caplog):
    with caplog.at_level(logging.WARNING):
        tracker = opened(uri="gopher://nowhere")
        for step in range(3):
            tracker.log_metrics({"train/loss": 1.0}, step=step)
        tracker.close("FINISHED")
    warnings = [record for record in caplog.records if record.name == "retfm_dist.tracking"]
    assert len(warnings) == 1
    assert "no tracking, the run goes on without" in warnings[0].getMessage()


def test_a_server_that_hangs_delays_the_end_only_so_long(opened, caplog, monkeypatch):
    released = threading.Event()

    class Hanging:
        def __init__(self, **target):
            released.wait()

        def take(self, kind, content):
            pass

    monkeypatch.setattr("retfm_dist.tracking._Session", Hanging)
    monkeypatch.setattr("retfm_dist.tracking._CLOSE_TIMEOUT_S", 0.05)
    tracker = opened()
    for step in range(2000):  # more than are kept waiting
        tracker.log_metrics({"train/loss": 1.0}, step=step)
    tracker.close("FINISHED")
    assert "MLflow has not taken everything" in caplog.text
    released.set()


def test_a_metric_that_is_refused_does_not_end_the_tracking(tmp_path, opened, client, caplog):
    tracker = opened()
    tracker.log_metrics({"no*such*name?": 1.0}, step=1)
    tracker.log_metrics({"train/loss": 1.0}, step=2)
    tracker.close("FINISHED")
    assert "tracking has gaps" in caplog.text
    assert steps_of(client, tmp_path) == [(2, 1.0)]


def test_no_tracking_is_a_tracker_too():
    tracker = NullTracker()
    tracker.log_params({"a": 1})
    tracker.log_metrics({"a": 1.0}, step=1)
    tracker.close("FINISHED")


@pytest.mark.parametrize("name", ["a?b", "a%20b"])
def test_a_path_that_means_another_place_in_a_uri_is_refused(tmp_path, opened, caplog, name):
    home = tmp_path / "homes" / name
    with pytest.raises(RetfmError, match="no path of a local MLflow database.*tracking.uri"):
        local_uri(home)
    opened(home=home).close("FINISHED")
    assert "no tracking, the run goes on without" in caplog.text
    assert [path.name for path in (tmp_path / "homes").iterdir()] == [name]


@pytest.mark.parametrize("name", ["a b", "a#b", "a%b", "a;b", "a&b"])
def test_other_special_characters_of_a_path_do_no_harm(tmp_path, opened, name):
    home = tmp_path / "homes" / name
    opened(home=home).close("FINISHED")
    assert (home / "mlflow.db").is_file()
    assert [path.name for path in (tmp_path / "homes").iterdir()] == [name]
