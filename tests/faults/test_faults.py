"""A short seeded series of faults; `make faults` is the long one."""

import pytest

from tests.fakes.jobs import pack_discs
from tests.faults.drive import EVERY, run_straight, run_with_faults

pytestmark = pytest.mark.slow

STEPS = 90


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("faults")
    run_straight(pack_discs(found), found / "straight", num_steps=STEPS)
    return found


def test_ten_faults_cost_no_more_than_their_interval(folder):
    hits = list(run_with_faults(folder / "set", folder, seed=1, num_faults=10, num_steps=STEPS))
    assert len(hits) == 10
    for found in hits:
        if not found.was_damaged:
            # One interval, and what is trained while the checkpoint is written.
            assert found.lost <= 2 * EVERY, found
