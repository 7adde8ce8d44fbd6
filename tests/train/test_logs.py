import json

import pytest

from retfm_dist.errors import SystemFailureError
from retfm_dist.train.logs import append_line, trim_logs
from retfm_dist.train.run_dir import RunDir
from retfm_dist.train.skips import Window, write_windows


def test_metrics_beyond_the_resumed_step_go(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "train/loss": 1 / step}) for step in (10, 20, 30)]
    path.write_text("\n".join(lines) + '\n{"step": 35, "tra')
    trim_logs(RunDir(tmp_path), 20)
    assert path.read_text() == "\n".join(lines[:2]) + "\n"
    trim_logs(RunDir(tmp_path), 0)
    assert path.read_text() == ""


def test_metrics_that_are_whole_stay_as_they_are(tmp_path):
    path = tmp_path / "metrics.jsonl"
    trim_logs(RunDir(tmp_path), 5)
    assert not path.exists()
    path.write_text('{"step": 5}\n')
    before = path.stat().st_mtime_ns
    trim_logs(RunDir(tmp_path), 5)
    assert path.stat().st_mtime_ns == before
    path.write_text('{"step": 5}')
    trim_logs(RunDir(tmp_path), 5)
    assert path.read_text() == '{"step": 5}\n'


def test_uids_of_steps_that_come_again_go_on_whichever_rank_wrote_them(tmp_path):
    """Training continues after 2 completed steps, which are the 0-based steps 0 and 1."""
    (tmp_path / "uids").mkdir()
    for rank in (0, 5):
        path = tmp_path / "uids" / f"rank_{rank:04d}.jsonl"
        path.write_text("".join(f'{{"step": {step}, "uids": []}}\n' for step in (0, 0, 1, 2, 3)))
    trim_logs(RunDir(tmp_path), 2)
    for path in (tmp_path / "uids").iterdir():
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 0, 1]


def test_lines_are_appended_as_json(tmp_path):
    for step in (1, 2):
        append_line(tmp_path / "log", {"step": step})
    assert (tmp_path / "log").read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(
        SystemFailureError, match="metrics.jsonl: cannot be read or written; got No space left"
    ):
        append_line(path, {"step": 1})


def test_anomalies_that_are_passed_over_stay(tmp_path):
    run_dir = RunDir(tmp_path)
    for step in (3, 7, 8, 12):
        append_line(run_dir.anomalies_path, {"step": step})
    write_windows(run_dir.skips_path, [Window(6, 9)])
    trim_logs(run_dir, 4)
    lines = run_dir.anomalies_path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 7, 8]
