"""What torchrun restarts, and what the verdict stops; `python -m tests.faults verdicts` is the long run."""

import pytest

from tests.fakes.jobs import pack_discs
from tests.faults.drive import run_straight
from tests.faults.verdicts import CHANGES, STEPS, run_jobs

pytestmark = pytest.mark.exhaustive


def test_faults_that_pass_are_survived_and_those_that_stay_stop_the_job(tmp_path):
    shards = pack_discs(tmp_path)
    run_straight(shards, tmp_path / "straight", num_steps=STEPS, changes=CHANGES)
    for job in run_jobs(shards, tmp_path, seed=1, num_jobs=10):
        assert job.is_right, job
