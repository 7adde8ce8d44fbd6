import json

from retfm_dist.train.logs import trim_logs
from retfm_dist.train.run_dir import RunDir


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
