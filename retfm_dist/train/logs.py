"""The line-by-line logs of a run: one JSON object per line, trimmed when training resumes."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from retfm_dist.durable import open_atomic
from retfm_dist.errors import system_failure
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.skips import Skips, read_windows


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Append one line to a log.

    Raises:
        SystemFailureError: The disk is full or refuses.
    """
    append_lines(path, [values])


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Append lines to a log.

    Raises:
        SystemFailureError: The disk is full or refuses.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(values) + "\n" for values in lines))
    except OSError as error:
        # A failed write does not say of which file, unlike a failed open.
        raise system_failure(OSError(error.errno, error.strerror, str(path))) from error


def trim_logs(run_dir: RunDir, step: int) -> None:
    """Drop what metrics.jsonl and the logs of uids hold beyond a number of completed steps.

    Training continues there and logs the later steps again. A line that a killed process cut
    short goes too.
    """
    _trim(run_dir.metrics_path, last=step)
    _trim(run_dir.bad_samples_path, last=step - 1)
    # What is passed over is not trained on again, so its lines stay.
    passed_over = Skips(rolled_back=read_windows(run_dir.skips_path))
    _trim(run_dir.anomalies_path, last=step - 1, kept=passed_over)
    # Of whichever ranks: the world may have been larger. Completed step n is logged as the
    # 0-based step n - 1.
    for path in run_dir.uid_log_paths():
        _trim(path, last=step - 1)


def _trim(path: Path, *, last: int, kept: Skips = Skips()) -> None:  # noqa: B008 - immutable
    """Keep the lines of a log up to step `last`, and those of steps in `kept`."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    steps = [_step_of(line) for line in lines]
    stay = [
        line
        for line, step in zip(lines, steps, strict=True)
        if step is not None and (step <= last or kept.contains(step))
    ]
    if len(stay) < len(lines) or (lines and not path.read_bytes().endswith(b"\n")):
        with open_atomic(path, "w") as file:
            file.writelines(line + "\n" for line in stay)


def _step_of(line: str) -> int | None:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
