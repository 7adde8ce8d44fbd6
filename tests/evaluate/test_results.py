import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.results import new_results
from retfm_dist.evaluate.run import run_evaluation
from tests.fakes.evaluation import (
    checked,
    evaluation,
)

FLOOR_ONLY = {"models": [{"kind": "handcrafted", "id": "floor"}]}


@pytest.mark.parametrize("name", ["checkpoints", "thesis.docx"])
def test_a_directory_with_other_things_is_not_touched(copied, name):
    (copied / "out" / name).mkdir()
    before = sorted(path.name for path in (copied / "out").iterdir())
    with pytest.raises(
        EvaluateError, match=f"holds something other than an evaluation; got {name}"
    ):
        run_evaluation(checked(evaluation(copied)))
    assert sorted(path.name for path in (copied / "out").iterdir()) == before


def write_old(out_dir):
    (out_dir / "predictions").mkdir(parents=True)
    for name in ("metrics.json", "predictions/x", "features"):
        (out_dir / name).write_text("old")


def test_new_results_replace_all_old_ones_and_leave_the_cache(tmp_path):
    write_old(tmp_path)
    with new_results(tmp_path) as new_dir:
        assert not list(new_dir.iterdir())
        (new_dir / "report.md").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "features"}


def test_what_fails_leaves_the_old_results(tmp_path):
    write_old(tmp_path)
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    def break_off():
        with new_results(tmp_path) as new_dir:
            (new_dir / "metrics.json").write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before
