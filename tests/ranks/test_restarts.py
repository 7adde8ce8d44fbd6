import random
import subprocess
import sys
import time

import psutil
import pytest

from retfm_dist.errors import RepeatedFailureError
from retfm_dist.ranks.restarts import (
    Failure,
    note_failure,
    read_failures,
    refuse_repetition,
    repeated_failure,
    restart_count,
)
from retfm_dist.ranks.world import Ranks
from tests.fakes.processes import environment


def failure(attempt, step=7, error="DataError: x", *, rank=0, lost=False, began="step_00000005"):
    return Failure(attempt, rank, step, error, lost, began)


@pytest.mark.parametrize(
    ("failures", "attempt", "stops"),
    [
        ([], 1, False),
        ([failure(0)], 1, False),
        ([failure(0), failure(1)], 2, True),
        ([failure(0), failure(1, step=8)], 2, False),
        ([failure(0), failure(1, error="DataError: y")], 2, False),
        ([failure(0, error="port 1234 at 0x7f"), failure(1, error="port 99 at 0xab")], 2, True),
        ([failure(0), failure(2)], 3, False),  # the attempt between ended without a word
        ([failure(0), failure(1)], 3, False),
        ([failure(0, lost=True), failure(1, lost=True)], 2, False),
        ([failure(n, lost=True) for n in range(3)], 3, True),
        # The step at which a rank was lost is not known so well.
        ([failure(n, 7 + n, lost=True) for n in range(3)], 3, True),
        # The first of them made the checkpoint at which the others began, or the second did.
        ([failure(n, lost=True, began="step 0" if n < 1 else "step_00000005") for n in range(3)],
         3, True),
        ([failure(n, lost=True, began="step 0" if n < 2 else "step_00000005") for n in range(3)],
         3, False),
        # What one rank says is preferred to that another noticed its end.
        ([failure(0), failure(0, rank=1, lost=True), failure(1), failure(1, rank=1, lost=True)],
         2, True),
    ],
)  # fmt: skip
def test_only_what_happened_alike_in_a_row_stops_a_job(failures, attempt, stops):
    found = repeated_failure(failures, attempt=attempt, begins="step_00000005")
    assert (found is not None) == stops


def test_a_hundred_jobs_get_the_right_verdict():
    """Half of them fail for a reason that stays; the others for one that passes."""
    draw = random.Random(0)
    right = 0
    for number in range(100):
        stays, step, failures = number % 2 == 0, draw.randint(0, 500), []
        stopped_at = None
        for attempt in range(6):
            begins = failures[-1].began if failures else "step 0"
            if repeated_failure(failures, attempt=attempt, begins=begins):
                stopped_at = attempt
                break
            kind = (
                draw.choice(["error", "lost"]) if not stays else ["error", "lost"][number % 4 // 2]
            )
            at = step if stays else draw.randint(0, 500)
            text = f"OSError: [Errno {draw.randint(1, 99)}]" if kind == "error" else "closed"
            began = f"step_{at // 20 * 20:08d}"
            failures += [
                failure(attempt, at + r, text, rank=r, lost=kind == "lost", began=began)
                for r in (0, 1)
            ]
        expected = (2 if number % 4 == 0 else 3) if stays else None
        right += stopped_at == expected
    assert right == 100


def test_notes_are_read_back_and_those_of_an_earlier_job_go(tmp_path):
    notes = [failure(0), failure(0, rank=3, lost=True), failure(1)]
    for note in notes:
        note_failure(tmp_path / "failures", note)
    assert read_failures(tmp_path / "failures", attempt=2) == notes
    (tmp_path / "failures" / "attempt_0001_rank_0009.json").write_text("{")
    assert read_failures(tmp_path / "failures", attempt=2) == notes
    assert read_failures(tmp_path / "failures", attempt=0) == []
    assert list((tmp_path / "failures").iterdir()) == []
    assert read_failures(tmp_path / "none", attempt=3) == []


def test_a_disk_that_refuses_the_note_changes_nothing(tmp_path):
    (tmp_path / "failures").touch()
    note_failure(tmp_path / "failures", failure(0))


def test_the_reason_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    for attempt in (0, 1):
        note_failure(tmp_path, failure(attempt, rank=1))
    with pytest.raises(RepeatedFailureError, match="rank 1: stopped instead.*2 attempts in a row "
                       "ended at step 7 with the same error; got DataError: x"):  # fmt: skip
        refuse_repetition(tmp_path, begins="step_00000005", ranks=Ranks())
    for attempt in range(3):
        note_failure(tmp_path, failure(attempt, 7 + attempt, "gone", rank=1, lost=True))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "3")
    with pytest.raises(RepeatedFailureError, match="3 attempts in a row lost a rank before the "
                       "checkpoint after step_00000005; got gone"):  # fmt: skip
        refuse_repetition(tmp_path, begins="step_00000005", ranks=Ranks())
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    refuse_repetition(tmp_path, begins="step_00000005", ranks=Ranks())


def test_restarts_are_counted_by_whoever_makes_them():
    assert restart_count({}) == 0
    assert restart_count({"SLURM_RESTART_COUNT": "3"}) == 3
    both = {"SLURM_RESTART_COUNT": "3", "TORCHELASTIC_RESTART_COUNT": "1"}
    assert restart_count(both) == 1


@pytest.mark.slow
def test_torchrun_ends_instead_of_restarting_when_asked(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, pathlib, sys\n"
        "from retfm_dist.ranks.restarts import stop_restarts\n"
        "pathlib.Path(sys.argv[1]).open('a').write('started ')\n"
        "atexit.register(stop_restarts)\n"
        "sys.exit(1)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts",
               "9", script, tmp_path / "log"]  # fmt: skip
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    family = psutil.Process(process.pid)
    begun_at = time.monotonic()
    assert process.wait(timeout=60) != 0
    assert (tmp_path / "log").read_text().count("started") <= 2
    assert time.monotonic() - begun_at < 50
    assert not family.is_running()
