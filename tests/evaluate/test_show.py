import json

from retfm_dist.evaluate.run import validate
from retfm_dist.evaluate.show import show_counts, show_results
from tests.fakes.evaluation import checked, evaluation


def test_results_end_with_the_path_of_the_report(finished, capsys):
    path = finished / "out" / "report.html"
    show_results(path, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(path)
    assert "verdict" in "\n".join(lines)
    show_results(path, as_json=True)
    assert json.loads(capsys.readouterr().out)["report"] == str(path)


def test_the_checks_name_copies_folds_and_classes(copied, capsys):
    show_counts(validate(checked(evaluation(copied))))
    text = capsys.readouterr().out
    for part in ("look like an image of another patient", "largest number of folds", "positive",
                 "smallest provable margin", "handcrafted"):  # fmt: skip
        assert part in text


def test_of_fixed_sets_the_leaks_are_counted(copied, capsys):
    lines = (copied / "table.csv").read_text().splitlines()
    sets = ["train", "train", "train", "val", "test", "test"]
    lines = [lines[0] + ",part"] + [f"{a},{sets[i // 4 % 6]}" for i, a in enumerate(lines[1:])]
    (copied / "table.csv").write_text("\n".join(lines) + "\n")
    values = evaluation(copied)
    for task in values["tasks"]:
        task["split"] = {"column": "part"}
    show_counts(validate(checked(values)))
    text = capsys.readouterr().out
    assert "validation and test images that look like a train image 0" in " ".join(text.split())
    assert "largest number of folds" not in text
