"""Metrics to MLflow: the one module that imports it, and only when a tracker is opened.

A tracker is one continuous MLflow run across restarts: its id is kept in a file, and steps that
the server already has are not sent again. Everything is sent by a thread of its own, so that
neither a slow server nor the two seconds of importing mlflow delay the caller, and any failure is
one warning and never an exception: the files on disk are the record, MLflow shows it.

Image files are never sent: pictures of retinas are patient data.
"""

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import unquote

from retfm_dist.durable import write_json
from retfm_dist.errors import RetfmError

logger = logging.getLogger(__name__)

_MAX_WAITING = 1000
_CLOSE_TIMEOUT_S = 30.0
_MAX_PARAM_CHARS = 500


Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ended, in MLflow's words."""


class Tracker(Protocol):
    """Receives parameters and metrics of a run."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings; those that the run has already stay as they are."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Record values after a step; steps must ascend."""
        ...

    def close(self, status: Status) -> None:
        """Send what is left, and mark how the run ended: KILLED was stopped and can go on."""
        ...


class NullTracker:
    """Discards everything."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Do nothing."""

    def close(self, status: Status) -> None:
        """Do nothing."""


def local_uri(home: Path) -> str:
    """Return the URI of an sqlite file in a directory.

    Raises:
        RetfmError: The directory's name means something else in a URI.
    """
    path = str((home / "mlflow.db").resolve())
    # MLflow makes the directory of the text and opens the file of the decoded one, so neither the
    # plain path nor the quoted one leads to a single place.
    if "?" in path or unquote(path) != path:
        raise RetfmError(
            "no path of a local MLflow database",
            where=home,
            expected="a path without ? and %",
            hint="move run.dir, or name a server with tracking.uri",
        )
    return f"sqlite:///{path}"


def open_tracker(
    *, uri: str | None, experiment: str, run_name: str, home: Path, id_path: Path
) -> Tracker:
    """Open the MLflow run named in `id_path`, or begin one and name it there.

    Args:
        uri: Tracking server; None is an sqlite file `home`/mlflow.db with artifacts beside it.
        experiment: MLflow experiment; made if missing.
        run_name: Name of a new run.
        home: Directory of the local database.
        id_path: JSON file that holds the run's id.
    """
    return _MlflowTracker(
        uri=uri, experiment=experiment, run_name=run_name, home=home, id_path=id_path
    )


class _MlflowTracker:
    """Sends everything to MLflow from a background thread."""

    def __init__(self, **target: Any) -> None:
        self._target = target
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=_MAX_WAITING)
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def log_params(self, params: Mapping[str, object]) -> None:
        self._put("params", dict(params))

    def log_metrics(self, metrics: Mapping[str, float], *, step: int) -> None:
        self._put("metrics", (dict(metrics), step))

    def close(self, status: Status) -> None:
        self._put("close", status)
        self._thread.join(timeout=_CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("MLflow has not taken everything in %.0f s", _CLOSE_TIMEOUT_S)

    def _put(self, kind: str, content: Any) -> None:
        # Full means a server that has been stuck for long; the files on disk have it all.
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait((kind, content))

    def _work(self) -> None:
        try:
            session = _Session(**self._target)
        except Exception as error:  # Whatever mlflow or its server raises.
            logger.warning("no tracking, the run goes on without: %s", _first_line(error))
            return
        is_told = False
        kind = ""
        while kind != "close":
            kind, content = self._queue.get()
            try:
                session.take(kind, content)
            except Exception as error:
                if not is_told:
                    logger.warning("tracking has gaps, the run goes on: %s", _first_line(error))
                is_told = True


class _Session:
    """MLflow client of the tracker's background thread."""

    def __init__(
        self, *, uri: str | None, experiment: str, run_name: str, home: Path, id_path: Path
    ) -> None:
        from mlflow import MlflowClient

        # The making of a database and each attempt to reach a server log a line; ours is enough.
        # MLflow sets levels itself when it is imported, hence only now.
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if uri is None:
            home.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(tracking_uri=uri or local_uri(home))
        artifacts = None if uri else (home / "mlflow-artifacts").resolve().as_uri()
        self._run_id = self._find_run(id_path) or self._begin_run(
            experiment, run_name, artifacts, id_path
        )
        self._last_step = self._find_last_step()

    def _find_run(self, id_path: Path) -> str | None:
        """Return the id of the run to continue, now marked as running."""
        from mlflow.exceptions import MlflowException

        try:
            run_id = json.loads(id_path.read_text(encoding="utf-8"))["mlflow_run_id"]
            self._client.update_run(run_id, status="RUNNING")
        except (OSError, ValueError, KeyError, MlflowException):
            return None  # A new run, or one that this server does not know.
        return run_id

    def _begin_run(
        self, experiment: str, run_name: str, artifacts: str | None, id_path: Path
    ) -> str:
        found = self._client.get_experiment_by_name(experiment)
        experiment_id = (
            found.experiment_id
            if found is not None
            else self._client.create_experiment(experiment, artifact_location=artifacts)
        )
        run_id = self._client.create_run(experiment_id, run_name=run_name).info.run_id
        write_json(id_path, {"mlflow_run_id": run_id})
        return run_id

    def _find_last_step(self) -> int:
        """Return the last step that the server has a metric of; -1 if none."""
        metrics = self._client.get_run(self._run_id).data.metrics
        histories = (self._client.get_metric_history(self._run_id, name) for name in metrics)
        return max((metric.step for history in histories for metric in history), default=-1)

    def take(self, kind: str, content: Any) -> None:
        """Send one queued item."""
        match kind:
            case "params":
                self._send_params(content)
            case "metrics":
                self._send_metrics(*content)
            case "close":
                self._client.set_terminated(self._run_id, status=content)

    def _send_params(self, params: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        # MLflow refuses to change a setting, so a restart sends only what is new.
        known = self._client.get_run(self._run_id).data.params
        new = [
            Param(name, str(value)[:_MAX_PARAM_CHARS])
            for name, value in params.items()
            if name not in known
        ]
        if new:
            self._client.log_batch(self._run_id, params=new)

    def _send_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        if step <= self._last_step:
            return
        now_ms = int(time.time() * 1000)
        batch = [Metric(name, value, now_ms, step) for name, value in metrics.items()]
        self._client.log_batch(self._run_id, metrics=batch)
        self._last_step = step


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
