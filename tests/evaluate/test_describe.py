from retfm_dist.evaluate.describe import describe_task
from retfm_dist.evaluate.prepare import prepare_tasks
from retfm_dist.evaluate.select import read_tasks
from tests.fakes.evaluation import checked, evaluation, write_archive

LABEL = {"column": "label_bright", "positive": [1], "negative": [0]}


def facts_of(root, **changes):
    task = {"id": "x", "title": "X", "table": "discs", "label": LABEL, **changes}
    config = checked(evaluation(root, tasks=[task], folds=3))
    return describe_task(prepare_tasks(read_tasks(config), [], config)[0])


def test_counts_and_subgroups_hold_no_identifier(tmp_path):
    write_archive(tmp_path, num_patients=10)
    facts = facts_of(tmp_path)
    assert (facts["num_rows"], facts["num_images"], facts["num_patients"]) == (20, 20, 10)
    assert facts["classes"] == [
        {"name": "negative", "num_images": 10, "num_patients": 5},
        {"name": "positive", "num_images": 10, "num_patients": 5},
    ]
    groups = [
        (g["attribute"], g["group"], g["num_images"], g["num_positive_patients"])
        for g in facts["subgroups"]
    ]
    assert groups == [("eye", "left", 10, 5), ("eye", "right", 10, 5), ("site", "north", 20, 5)]
    assert facts["sets"] == []
    assert facts["possible_folds"] == {"folds": 5, "inner_folds": 3}
    assert facts["alike"] == {"within_patients": 0, "across_patients": 0, "across_sets": 0}
    assert facts["expected"]["interval_width"] > 0
    assert "HOSP" not in str(facts)
    assert ".png" not in str(facts)


def test_sets_are_counted_by_class(tmp_path):
    table = write_archive(tmp_path, num_patients=12)
    lines = table.read_text().splitlines()
    sets = ["train", "train", "train", "train", "test", "test"]
    lines = [lines[0] + ",part"] + [f"{line},{sets[i // 4]}" for i, line in enumerate(lines[1:])]
    table.write_text("\n".join(lines) + "\n")
    facts = facts_of(tmp_path, split={"column": "part"})
    assert facts["possible_folds"] is None
    assert [(part["name"], part["classes"][1]["num_images"]) for part in facts["sets"]] == [
        ("train", 8), ("test", 4),
    ]  # fmt: skip


def test_patients_whose_eyes_differ_count_on_both_sides(tmp_path):
    """No patient is healthy altogether here, and what can be shown is still a number."""
    table = write_archive(tmp_path, num_patients=10)
    lines = table.read_text().splitlines()
    lines = [lines[0] + ",label_eye"] + [f"{line},{i % 2}" for i, line in enumerate(lines[1:])]
    table.write_text("\n".join(lines) + "\n")
    facts = facts_of(tmp_path, label={"column": "label_eye", "positive": [1], "negative": [0]})
    assert [row["num_patients"] for row in facts["classes"]] == [0, 10]
    assert 0 < facts["expected"]["interval_width"] < 1
