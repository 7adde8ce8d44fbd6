import json
import subprocess
import sys

import pytest

from retfm_dist.cohort.table import read_archive_table


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "retfm_dist.synth", *arguments], capture_output=True, text=True
    )


def test_the_command_draws_a_cohort_and_answers_in_json(tmp_path):
    out = tmp_path / "cohort"
    done = run(
        "--out", str(out), "--patients-per-site", "1", "--size", "64", "--seed", "3",
        "--lesion-visibility", "0.5", "--visibility-for", "age>=60:0.1", "--visibility-for",
        "sex=male:1", "--format", "mixed", "--workers", "1", "--json",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["num_images"] == 4
    assert answer["table"] == str(out / "cohort.csv")
    assert len(read_archive_table(out / "cohort.csv")) == 4
    truth = json.loads((out / "planted.json").read_text())
    assert truth["lesion_visibility"] == 0.5
    assert [rule["column"] for rule in truth["rules"]] == ["age", "sex"]
    assert truth["image_format"] == "mixed"


def test_no_workers_asked_for_means_one_per_core(tmp_path):
    out = tmp_path / "cohort"
    done = run("--out", str(out), "--patients-per-site", "1", "--size", "64", "--workers", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_archive_table(out / "cohort.csv")) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing option '--out'"),
        (("--out", "{}", "--format", "gif"), 2, "'gif' is not one of"),
        (("--out", "{}", "--size", "8"), 1, "error: size_px: number out of range; got 8"),
        (
            ("--out", "{}", "--visibility-for", "x"),
            1,
            "error: --visibility-for: not a visibility rule",
        ),
        (("--out", "{}", "--workers", "-1"), 2, "greater than or equal to 0"),
    ],
)
def test_bad_usage_is_one_message_and_no_output(tmp_path, arguments, code, message):
    out = tmp_path / "out"
    done = run(*(argument.format(out) for argument in arguments))
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_shows_an_example():
    done = run("--help")
    assert done.returncode == 0
    assert "python -m retfm_dist.synth --out" in " ".join(done.stdout.split())
