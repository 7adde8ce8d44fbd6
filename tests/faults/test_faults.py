"""A short seeded series of faults; `make faults` is the long one."""

import pytest

from tests.fakes.jobs import pack_discs
from tests.faults.drive import MOST_LOST, run_straight, run_with_faults

pytestmark = pytest.mark.slow

STEPS = 90


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("faults")
    run_straight(pack_discs(found), found / "straight", num_steps=STEPS)
    return found


def test_ten_faults_cost_no_more_than_they_may(folder):
    hits = list(run_with_faults(folder / "set", folder, seed=1, num_faults=10, num_steps=STEPS))
    assert len(hits) == 10
    for found in hits:
        if not found.was_damaged:
            assert found.lost <= MOST_LOST, found
