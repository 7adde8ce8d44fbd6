"""Trimming of a run's line-by-line logs to the step that training resumes from."""

import json
from pathlib import Path

from retfm_dist.durable import open_atomic
from retfm_dist.train.run_dir import RunDir


def trim_logs(run_dir: RunDir, step: int) -> None:
    """Drop what metrics.jsonl and the logs of uids hold beyond a number of completed steps.

    Training continues there and logs the later steps again. A line that a killed process cut
    short goes too.
    """
    _trim(run_dir.metrics_path, last=step)
    # Of whichever ranks: the world may have been larger. Completed step n is logged as the
    # 0-based step n - 1.
    for path in run_dir.uid_log_paths():
        _trim(path, last=step - 1)


def _trim(path: Path, *, last: int) -> None:
    """Keep the lines of a log up to step `last`."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if (step := _step_of(line)) is not None and step <= last]
    if len(kept) < len(lines) or (lines and not path.read_bytes().endswith(b"\n")):
        with open_atomic(path, "w") as file:
            file.writelines(line + "\n" for line in kept)


def _step_of(line: str) -> int | None:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
