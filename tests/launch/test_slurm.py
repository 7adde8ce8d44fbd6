"""The Slurm script with stand-ins for Slurm's own commands and a real job of two ranks under it."""

import signal
import stat
import subprocess
import time

import pytest

from retfm_dist.train.checkpoint.folder import list_checkpoints
from tests.fakes.jobs import metrics_of, pack_discs
from tests.fakes.processes import CONFIG, LIMIT_S, ROOT, environment

pytestmark = pytest.mark.slow

STUBS = {
    # Runs a task of a job step, as srun does, and passes signals on.
    "srun": """#!/bin/bash
shift
"$@" &
task=$!
trap 'kill -TERM $task' TERM
wait $task
code=$?
while kill -0 $task 2> /dev/null; do wait $task; code=$?; done
exit $code
""",
    "scontrol": """#!/bin/bash
if [[ $1 == show ]]; then echo 127.0.0.1; else echo "$*" >> "$STUB_LOG"; fi
""",
}


@pytest.fixture
def job(tmp_path):
    """Start the script in an allocation of one node with two slots."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, text in STUBS.items():
        path = bin_dir / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    shards = pack_discs(tmp_path)
    config = tmp_path / "config.yaml"
    values = CONFIG.read_text().replace("shards: shards/test", f"shards: {shards}")
    config.write_text(values.replace("every: 5 steps", "every: 100 steps"))
    variables = environment() | {
        "CONFIG": str(config),
        "RUN_DIR": str(tmp_path / "run"),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "node[0]",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "STUB_LOG": str(tmp_path / "scontrol.log"),
    }
    variables["PATH"] = f"{bin_dir}:{variables['PATH']}"

    def start(num_steps):
        text = config.read_text().replace("duration: 20 steps", f"duration: {num_steps} steps")
        config.write_text(text.replace("every: 100 steps", "every: 1 steps", 2))
        with (tmp_path / "log").open("w") as log:
            command = ["bash", ROOT / "launch" / "slurm.sbatch"]
            return subprocess.Popen(command, env=variables, stdout=log, stderr=log)

    return start, tmp_path


def test_before_the_time_limit_it_saves_and_queues_itself_again(job):
    start, folder = job
    process = start(100_000)
    metrics = folder / "run" / "metrics.jsonl"
    end = time.monotonic() + LIMIT_S
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 3):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 0, (folder / "log").read_text()
    assert (folder / "scontrol.log").read_text() == "requeue 4711\n"
    step = metrics_of(folder / "run")[-1][0]
    assert list_checkpoints(folder / "run")[-1].name == f"step_{step:08d}"
    assert "goes back into the queue" in (folder / "log").read_text()


def test_a_finished_run_is_not_queued_again(job):
    start, folder = job
    assert start(5).wait(timeout=LIMIT_S) == 0, (folder / "log").read_text()
    assert (folder / "run" / "DONE").exists()
    assert not (folder / "scontrol.log").exists()


def test_the_job_says_what_it_needs():
    done = subprocess.run(
        ["bash", ROOT / "launch" / "slurm.sbatch"],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "CONFIG must name a config" in done.stderr
