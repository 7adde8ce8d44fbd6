import pytest

from retfm_dist.evaluate.report.checklists import MARKS, fill_checklists
from retfm_dist.evaluate.report.compute import Result
from tests.fakes.evaluation import checked, evaluation
from tests.fakes.predictions import predictions

NOTHING = {"samples": [{"subgroups": []}], "overlap": [{"provenance": "unknown"}]}
EVERYTHING = {
    "samples": [{"subgroups": [{"attribute": "sex"}]}],
    "overlap": [{"provenance": "known"}],
}


def filled(tmp_path, facts, **changes):
    thresholds = {"spec90": 0.5} if facts is EVERYTHING else {}
    result = Result(predictions(), "auroc", {}, {}, 0.5, thresholds)
    return fill_checklists(checked(evaluation(tmp_path, **changes)), facts, [result])


def test_the_items_of_each_guideline_are_there_once(tmp_path):
    found = {checklist.id: checklist for checklist in filled(tmp_path, NOTHING)}
    numbers = {name: [item.number for item in c.items] for name, c in found.items()}
    whole = {int(number.rstrip("abcdefg")) for number in numbers["tripod_ai"]}
    assert whole == set(range(1, 28))
    assert numbers["claim"] == [str(number) for number in range(1, 43)]
    whole = {int(n.rstrip("abcdefg")) for n in numbers["stard_ai"] if n != "AI"}
    assert whole == set(range(1, 31))
    for name in ("tripod_ai", "claim"):
        assert len(numbers[name]) == len(set(numbers[name]))


def test_what_an_evaluation_lacks_is_left_to_a_human(tmp_path):
    bare = {c.id: c.count() for c in filled(tmp_path, NOTHING)}
    full = {c.id: c.count() for c in filled(tmp_path, EVERYTHING, report={"pictures": True})}
    for name, counts in bare.items():
        assert counts["human"] > full[name]["human"] > 0
        assert sum(counts.values()) == sum(full[name].values())
    text = next(c for c in filled(tmp_path, NOTHING) if c.id == "stard_ai").markdown()
    assert "not here: there is no validation set to choose thresholds on" in text


def test_no_prose_is_made_up_for_a_human(tmp_path):
    for checklist in filled(tmp_path, EVERYTHING, report={"pictures": True}):
        for item in checklist.items:
            assert item.mark in MARKS
            assert (item.where == "") == (item.mark == "human")


@pytest.mark.parametrize("name", ["tripod_ai", "claim", "stard_ai"])
def test_every_evaluation_writes_them(finished, name):
    text = (finished / "out" / "checklists" / f"{name}.md").read_text()
    assert "| item | topic | answered by | where |" in text
    assert f"checklists/{name}.md" in (finished / "out" / "report.html").read_text()
