import numpy as np

from retfm_dist.evaluate.report.examples import GROUPS, PER_GROUP, choose_examples, picture_path
from tests.fakes.predictions import predictions


def test_pictures_lie_by_task_under_the_uid(tmp_path):
    assert picture_path(tmp_path, "dr", "ab") == tmp_path / "pictures" / "dr" / "ab.jpg"


def test_examples_are_the_ends_of_each_class():
    item = predictions()
    chosen = choose_examples(item)
    assert [e.group for e in chosen] == [group for group in GROUPS for _ in range(PER_GROUP)]
    positive = np.sort(item.scores[item.labels == 1])
    negative = np.sort(item.scores[item.labels == 0])
    found = {group: [item.scores[e.index] for e in chosen if e.group == group] for group in GROUPS}
    assert found["positive_high"] == positive[::-1][:4].tolist()
    assert found["positive_low"] == positive[:4].tolist()
    assert found["negative_low"] == negative[:4].tolist()
    assert found["negative_high"] == negative[::-1][:4].tolist()


def test_no_example_is_shown_twice_in_a_small_class():
    chosen = choose_examples(predictions(num_patients=3))
    indices = [example.index for example in chosen]
    assert len(indices) == len(set(indices))
