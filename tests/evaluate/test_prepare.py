import json
import shutil

from retfm_dist.evaluate.run import run_evaluation
from tests.fakes.evaluation import (
    checked,
    evaluation,
)

FLOOR_ONLY = {"models": [{"kind": "handcrafted", "id": "floor"}]}


def tables_of(root):
    return {"discs": {"path": str(root / "table.csv"), "images": str(root), "max_bad_ratio": 0.1}}


def test_missing_unreadable_and_copied_images_are_counted_in_the_report(copied):
    (copied / "images" / "001_left.png").unlink()
    (copied / "images" / "002_left.png").write_text("no photograph")
    shutil.copy(copied / "images" / "003_left.png", copied / "images" / "003_right.png")
    run_evaluation(checked(evaluation(copied, tables=tables_of(copied), **FLOOR_ONLY)))
    task = json.loads((copied / "out" / "samples.json").read_text())[0]
    counts = {step["reason"]: step["num_images"] for step in task["excluded"]}
    assert counts["image file missing"] == 1
    assert counts["image unreadable or without a field of view"] == 1
    assert counts["exact copy of another image"] == 1
    assert task["num_images"] == 53
    assert "left out: image file missing" in (copied / "out" / "report.html").read_text()
