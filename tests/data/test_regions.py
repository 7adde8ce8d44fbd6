import sys

import pytest

from retfm_dist.data import regions
from retfm_dist.data.regions import can_decode_regions


def test_the_question_is_answered_by_the_real_operators(caplog):
    assert can_decode_regions(None)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
        ("raise RuntimeError('no JPEG engine')", "exit code 1, RuntimeError: no JPEG engine"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_crash_or_a_hang_is_an_answer_too(code, answer, caplog, monkeypatch):
    monkeypatch.setattr(regions, "_LIMIT_S", 1.0 if "sleep" in code else 60.0)
    assert not can_decode_regions(0, command=[sys.executable, "-c", code])
    assert f"cannot be decoded on GPU 0 ({answer}" in caplog.text
