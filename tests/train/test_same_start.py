import pytest

from retfm_dist.errors import TrainError
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.same_start import check_same_start, compare_facts
from retfm_dist.train.schedule import plan_run
from tests.fakes.training import FakeLoader, tiny_config


def test_one_rank_agrees_with_itself(tmp_path):
    config = tiny_config(tmp_path)
    check_same_start(config, FakeLoader(config, Ranks()), plan_run(config, steps_per_epoch=4))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": "stale"}, "rank 2: .* images differs; got stale, expected fresh"),
        ({"torch": "2.14"}, "rank 2: .* torch differs; got 2.14, expected 2.15"),
        ({"extra": "1.0"}, "rank 2: .* extra differs; got 1.0, expected None"),
        ({"images": "stale", "torch": "2.14"}, "images differs"),
        ({"images": "9" * 5000}, r"got 9{400}\.\.\., expected fresh"),
    ],
)
def test_the_rank_that_differs_is_named(changed, message):
    facts = {"images": "fresh", "torch": "2.15"}
    compare_facts([facts] * 4)
    with pytest.raises(TrainError, match=message):
        compare_facts([facts, facts, facts | changed, facts])


def test_of_two_halves_the_later_one_is_named():
    with pytest.raises(TrainError, match="rank 1, 3: .*got 5, expected 4"):
        compare_facts([{"steps": 4}, {"steps": 5}, {"steps": 4}, {"steps": 5}])
