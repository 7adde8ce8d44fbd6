"""The script of the day on a GPU machine: its stages go on, are not repeated, and are gathered."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_day.sh"

# Stands in for python: writes what a stage leaves, fails where it is told to, and gathers for real.
STAGE = """#!{python}
import json, os, subprocess, sys
words = sys.argv[1:]
if words[1] == "benchmarks.gathered":
    sys.exit(subprocess.call([{python!r}, *words]))
with open(os.environ["CALLS"], "a") as calls:
    print(words[1], file=calls)
if words[1] == os.environ.get("BROKEN"):
    sys.exit("it broke")
row = {{"name": words[1], "value": 1.0, "unit": "x", "peer": "", "ratio": 1.0, "limit": 2.0}}
with open(words[words.index("--json") + 1], "w") as file:
    json.dump([row], file)
"""
STAGES = [
    "device_parity", "attention", "train_step", "train_step", "decode", "pretrain", "host_overhead",
]  # fmt: skip


@pytest.fixture
def call(tmp_path):
    python = tmp_path / "python"
    python.write_text(STAGE.format(python=sys.executable))
    python.chmod(0o755)
    calls = tmp_path / "calls"

    def run(*arguments, **variables):
        calls.unlink(missing_ok=True)
        environment = {
            **os.environ, "PYTHON": str(python), "OUT": str(tmp_path / "out"), "CALLS": str(calls),
        }  # fmt: skip
        done = subprocess.run(
            [SCRIPT, *arguments],
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        names = calls.read_text().split() if calls.exists() else []
        return done, [name.removeprefix("benchmarks.") for name in names]

    return run


def test_every_stage_runs_once_and_all_are_gathered(call, tmp_path):
    done, names = call("--dry-run")
    assert done.returncode == 0, done.stderr
    assert names == STAGES
    (path,) = (tmp_path / "out").glob("GPU-*.json")
    found = json.loads(path.read_text())
    assert list(found["stages"]) == [
        "1_parity", "2_attention", "3_step", "4_zero", "5_decode", "6_pretrain", "7_host",
    ]  # fmt: skip
    assert found["machine"]["device"]
    assert "| benchmarks.decode | 1 | x |  | 1.00 | 2 |" in path.with_suffix(".md").read_text()
    done, names = call("--dry-run")
    assert (done.returncode, names) == (0, [])
    assert done.stdout.count("done before") == len(STAGES)


def test_a_stage_that_fails_is_told_and_the_next_call_makes_it_alone(call):
    done, names = call("--dry-run", BROKEN="benchmarks.attention")
    assert done.returncode == 1
    assert names == STAGES
    assert "it broke" in done.stdout
    assert done.stderr == "failed: 2_attention (exit code 1)\n"
    done, names = call("--dry-run")
    assert (done.returncode, names) == (0, ["attention"])


def test_an_unknown_word_is_refused(call):
    done, names = call("--dry")
    assert (done.returncode, names) == (2, [])
    assert done.stderr == "usage: benchmarks/gpu_day.sh [--dry-run]\n"


@pytest.mark.exhaustive
def test_the_dry_run_needs_neither_network_nor_mlflow(tmp_path):
    (tmp_path / "mlflow.py").write_text("raise ImportError('none here')\n")
    variables = {"PYTHON": sys.executable, "OUT": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "--map-root-user",
            "sh",
            "-c",
            f"ip link set lo up; {SCRIPT} --dry-run",
        ],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
