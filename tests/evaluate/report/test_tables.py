import csv

from tests.fakes.evaluation import results


def read(root, name):
    with (root / "out" / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_is_there_as_csv_and_latex(finished):
    names = {path.name for path in (finished / "out" / "tables").iterdir()}
    tables = ("metrics", "differences", "operating_points", "flow", "classes", "subgroups")
    assert names == {f"{table}.{suffix}" for table in tables for suffix in ("csv", "tex")}
    for table in tables:
        assert r"\toprule" in (finished / "out" / "tables" / f"{table}.tex").read_text()


def test_the_numbers_are_those_of_metrics_json(finished):
    found = results(finished)
    rows = [
        r for r in read(finished, "metrics") if r["level"] == "image" and r["metric"] == "auroc"
    ]
    assert len(rows) == len(found)
    for row in rows:
        protocol = "linear" if row["protocol"] == "linear probe" else "knn_5"
        auroc = found[row["model"], row["task"], protocol]
        assert row["value"] == f"{auroc['value']:.4f}"
        assert row["lower"] == f"{auroc['lo']:.4f}"
        assert (row["rows"], row["patients"]) == ("56", "28")
    assert len(read(finished, "differences")) == 8


def test_flow_and_classes_add_up(finished):
    for task in ("bright", "noise"):
        steps = [row for row in read(finished, "flow") if row["task"] == task]
        left = sum(int(row["images"]) for row in steps[1:-1])
        assert int(steps[0]["images"]) - left == int(steps[-1]["images"]) == 56
        classes = [row for row in read(finished, "classes") if row["task"] == task]
        assert sum(int(row["images"]) for row in classes) == 56
        assert sum(int(row["patients"]) for row in classes) == 28


def test_without_a_validation_set_there_is_no_operating_point(finished):
    assert read(finished, "operating_points") == []
