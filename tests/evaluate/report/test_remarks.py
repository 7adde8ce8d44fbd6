import dataclasses

from retfm_dist.evaluate.judge.measure import score
from retfm_dist.evaluate.report.compute import Result
from retfm_dist.evaluate.report.remarks import group_remarks, remarks_of
from tests.fakes.predictions import predictions


def result(item, pooled=None):
    scored = score(item, alpha=0.05)
    return Result(item, "auroc", scored, {}, scored["auroc"].value if pooled is None else pooled)


def fits(*chosen, edge=False):
    return tuple({"c": c, "c_at_grid_edge": edge, "converged": True} for c in chosen)


def test_a_sound_result_has_no_remark():
    assert remarks_of(result(predictions(num_patients=120))) == []


def test_what_a_reader_has_to_know_is_said():
    few = remarks_of(result(predictions(num_patients=18)))
    assert few[0].startswith("insufficient: 9 patients")
    assert "few patients: 9 of the rarer class" in few
    item = predictions(num_patients=120, effect=-1.0)
    assert "the whole interval of the AUROC lies below 0.5" in remarks_of(result(item))[0]
    item = predictions(num_patients=120)
    assert "pooled over folds the AUROC is 0.20" in remarks_of(result(item, pooled=0.2))[0]
    jumping = dataclasses.replace(item, fits=fits(0.1, 10.0))
    assert remarks_of(result(jumping)) == ["the chosen C jumps from 0.1 to 10 between fits"]
    edge = dataclasses.replace(item, fits=fits(0.1, 0.1, edge=True))
    assert remarks_of(result(edge)) == ["C at the edge of the grid in 2 of 2 fits"]
    failed = dataclasses.replace(item, fits=({"converged": False},))
    assert remarks_of(result(failed)) == ["a fit did not converge"]


def test_equal_remarks_are_listed_once_with_their_places():
    items = [result(predictions(num_patients=40, model=name)) for name in ("a", "b")]
    items[1] = dataclasses.replace(
        items[1], predictions=dataclasses.replace(items[1].predictions, fits=fits(0.1, edge=True))
    )
    found = group_remarks(items, {"t": "Is it so?"}, {"linear": "linear probe"})
    assert found == {
        "few patients: 20 of the rarer class": ["Is it so?"],
        "C at the edge of the grid in 1 of 1 fits": ["Is it so? (b, linear probe)"],
    }
