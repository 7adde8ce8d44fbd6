"""The real command on real shards: `deepspeed launch/pretrain.py` with two ranks, and its failures."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from PIL import Image

from retfm_dist.shard.index import read_sample_index
from retfm_dist.train.checkpoint.folder import find_checkpoint, list_checkpoints
from tests.fakes.checkpoints import bits_of
from tests.fakes.jobs import (
    SCRIPT,
    arguments,
    deepspeed_command,
    members,
    metrics_of,
    pack_discs,
    torchrun_command,
)
from tests.fakes.processes import CONFIG, LIMIT_S, environment, free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return pack_discs(tmp_path_factory.mktemp("shards"))


def run(command):
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=LIMIT_S
    )


def python(*words):
    return run([sys.executable, SCRIPT, *words])


CHANGES = ("schedule.duration=30 steps", "checkpoint.every=3 steps", "log.every=3 steps")


@pytest.fixture(scope="module")
def finished(shards, tmp_path_factory):
    """A run of two ranks that nothing disturbed, and what it printed."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    done = run(deepspeed_command(free_port(), *arguments(shards, run_dir, *CHANGES)))
    assert done.returncode == 0, done.stdout + done.stderr
    return run_dir, done


def test_two_ranks_train_to_the_end(finished):
    run_dir, _ = finished
    assert json.loads((run_dir / "DONE").read_text())["step"] == 30
    metrics = metrics_of(run_dir)
    assert [line[0] for line in metrics] == list(range(3, 31, 3))
    assert metrics[-1][1] < metrics[0][1]
    assert len(list_checkpoints(run_dir)) == 2
    pictures = sorted(path.name for path in (run_dir / "reconstructions").iterdir())
    assert pictures[-1] == "step_00000030.png"
    with Image.open(run_dir / "reconstructions" / pictures[-1]) as picture:
        assert picture.size == (3 * 64, 4 * 64)  # num_reconstructions is 4
    assert json.loads((run_dir / "environment.json").read_text())["world_size"] == 2
    assert (run_dir.parent / "mlflow.db").is_file()


def test_the_output_is_the_run_and_the_launcher_and_nothing_else(finished):
    _, done = finished
    lines = done.stderr.splitlines()
    lines += [line for line in done.stdout.splitlines() if not line.startswith("[20")]
    assert lines
    assert [line for line in lines if not line.startswith("INFO retfm_dist.train.")] == []
    assert sum("finished 30 steps" in line for line in lines) == 1


STOPPABLE = ("schedule.duration=4000 steps", "checkpoint.every=3000 steps", "log.every=1 steps",
             "log.reconstructions_every=0 steps", "tracking.mlflow=false")  # fmt: skip


@pytest.mark.parametrize(
    ("command", "receiver", "name"),
    [
        (deepspeed_command, "runner", "SIGTERM"),
        (deepspeed_command, "launcher", "SIGTERM"),
        (deepspeed_command, "0", "SIGUSR1"),
        pytest.param(deepspeed_command, "1", "SIGTERM", marks=pytest.mark.exhaustive),
        (deepspeed_command, "group", "SIGINT"),
        (torchrun_command, "runner", "SIGTERM"),
        pytest.param(torchrun_command, "1", "SIGUSR1", marks=pytest.mark.exhaustive),
    ],
)
def test_a_signal_to_anyone_saves_the_last_step_and_leaves_nobody(
    shards, tmp_path, command, receiver, name
):
    run_dir = tmp_path / "run"
    words = command(free_port(), *arguments(shards, run_dir, *STOPPABLE))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            words, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
    metrics = run_dir / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 3, process)
    family = members(process)
    asked_at = time.monotonic()
    if receiver == "group":
        os.killpg(process.pid, getattr(signal, name))
    else:
        family[receiver].send_signal(getattr(signal, name))
    process.wait(timeout=60)
    alive = [p for p in family.values() if p is not None]
    psutil.wait_procs(alive, timeout=30)
    assert not [p for p in alive if p.is_running()]
    assert time.monotonic() - asked_at < 30
    saved = list_checkpoints(run_dir)
    step = metrics_of(run_dir)[-1][0]
    assert [path.name for path in saved] == [f"step_{step:08d}"]  # no step is lost
    text = (tmp_path / "log").read_text()
    assert f"after step {step}, which is saved; the same command continues" in text
    # What DeepSpeed's runner and torchrun say of themselves is theirs.
    assert not re.search(r'File "[^"]*(/retfm_dist/|/pretrain\.py)', text)


def uids_by_step(run_dir):
    """The images of every global batch in their order, whatever ranks have logged them."""
    pieces = {}
    for rank, path in enumerate(sorted((run_dir / "uids").glob("rank_*.jsonl"))):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            pieces[line["step"], line["micro_step"], rank] = line["uids"]
    batches = {}
    for place in sorted(pieces):
        batches.setdefault(place[0], []).extend(pieces[place])
    return batches


def test_two_ranks_stopped_and_one_that_goes_on_see_the_same_images_past_a_damaged_one(
    shards, tmp_path
):
    own = shutil.copytree(shards, tmp_path / "set")
    record = read_sample_index(own / "000000.samples")[5]
    tar = bytearray((own / "000000.tar").read_bytes())
    tar[int(record["offset"]) + 300] ^= 4
    (own / "000000.tar").write_bytes(tar)
    logged = ("data.log_uids=true", "schedule.micro_batch_size=2", "schedule.duration=31 steps")
    whole = python(*arguments(own, tmp_path / "whole", *logged))
    assert whole.returncode == 0, whole.stderr
    assert (
        f"in place of {record['uid']:016x} in {own}/000000.tar, sample 5: damaged" in whole.stderr
    )
    run_dir = tmp_path / "run"
    words = deepspeed_command(free_port(), *arguments(own, run_dir, *logged))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            words, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
    metrics = run_dir / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 2, process)
    members(process)["1"].send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    stopped_at = metrics_of(run_dir)[-1][0]
    assert 0 < stopped_at < 31
    rest = python(*arguments(own, run_dir, *logged))
    assert rest.returncode == 0, rest.stderr
    expected = uids_by_step(tmp_path / "whole")
    assert len(expected) == 31
    assert uids_by_step(run_dir) == expected
    told = [
        [(line["step"], line["uid"], line["substitute"]) for line in map(json.loads, lines)]
        for lines in (
            (path / "bad_samples.jsonl").read_text().splitlines()
            for path in (tmp_path / "whole", run_dir)
        )
    ]
    assert told[0] == told[1]
    assert {uid for _, uid, _ in told[0]} == {f"{record['uid']:016x}"}


@pytest.mark.parametrize("receiver", ["0", "1"])
def test_a_stopped_rank_is_named_and_the_job_ends(shards, tmp_path, receiver):
    run_dir = tmp_path / "run"
    words = arguments(shards, run_dir, *STOPPABLE, "run.stall_timeout_s=6")
    with (tmp_path / "log").open("w") as log:
        command = deepspeed_command(free_port(), *words)
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
    metrics = run_dir / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 3, process)
    family = members(process)
    stopped_at = time.monotonic()
    family[receiver].send_signal(signal.SIGSTOP)
    process.wait(timeout=60)
    assert time.monotonic() - stopped_at < 20
    psutil.wait_procs(family.values(), timeout=10)
    assert not [p for p in family.values() if p.is_running()]
    text = (tmp_path / "log").read_text()
    assert process.returncode != 0
    assert re.search(
        f"ERROR .*: rank {receiver} on .* has made no progress for .*no heartbeat", text
    )
    assert f"stacks of rank {1 - int(receiver)}:" in text
    assert "most recent call first" in text
    (note,) = (run_dir / "failures").glob("attempt_0000_*.json")
    assert json.loads(note.read_text())["rank"] == int(receiver)


def test_torchrun_restarts_what_was_killed_and_the_bits_are_the_same(shards, finished, tmp_path):
    run_dir = tmp_path / "run"
    words = arguments(shards, run_dir, *CHANGES, "tracking.mlflow=false")
    command = torchrun_command(free_port(), *words, max_restarts=3)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
    for number, receiver in enumerate(("1", "0")):
        wait_until(lambda n=number: len(list_checkpoints(run_dir)) > 0
                   and restarts_of(process) == n, process)  # fmt: skip
        members(process)[receiver].send_signal(signal.SIGKILL)
        wait_until(lambda n=number: restarts_of(process) == n + 1, process)
    assert process.wait(timeout=LIMIT_S) == 0, (tmp_path / "log").read_text()[-3000:]
    one, other = (bits_of(find_checkpoint(path)) for path in (run_dir, finished[0]))
    assert one == other


def restarts_of(process):
    """How often torchrun has restarted the ranks; -1 while there are none."""
    try:
        ranks = [p for name, p in members(process).items() if name == "1"]
        return int(ranks[0].environ()["TORCHELASTIC_RESTART_COUNT"]) if ranks else -1
    except (psutil.Error, KeyError):
        return -1


def test_what_fails_at_one_step_twice_is_not_restarted_again(shards, tmp_path):
    damaged = shutil.copytree(shards, tmp_path / "set")
    tar = next(damaged.glob("*.tar"))
    tar.write_bytes(bytes(tar.stat().st_size))  # no image is left that could replace another
    words = arguments(damaged, tmp_path / "run", *CHANGES, "tracking.mlflow=false")
    command = torchrun_command(free_port(), *words, max_restarts=9)
    done = run(command)
    assert done.returncode != 0
    assert "stopped instead of starting again: 2 attempts in a row ended at step" in done.stderr
    assert sum("starting from" in line for line in done.stderr.splitlines()) <= 3


def wait_until(is_so, process):
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.05)


def test_a_finished_run_on_one_rank_says_so(shards, finished):
    run_dir, _ = finished
    again = python(*arguments(shards, run_dir, *CHANGES))
    assert again.returncode == 0
    assert "this run has finished; nothing to do" in again.stderr


def test_a_batch_that_does_not_divide_is_one_message_from_two_ranks(shards, tmp_path):
    words = arguments(shards, tmp_path / "run", "schedule.micro_batch_size=8")
    done = run(deepspeed_command(free_port(), *words))
    assert done.returncode == 1
    assert done.stderr.count("the batch does not divide") == 1
    assert "error: schedule.global_batch_size: the batch does not divide; got 8" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["optim.lr=1"], "error: .*test_cpu.yaml: optim: unknown key"),
        (["data.shards=nowhere"], "error: nowhere"),
        (["stability.skip_steps=[[4,2]]"], "error: .*skip_steps must be windows"),
        (["engine.device=cuda"], "error: engine.device: .*got cuda, and DS_ACCELERATOR=cpu"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(shards, tmp_path, changes, message):
    done = python(*arguments(shards, tmp_path / "run", *changes))
    assert done.returncode == 1
    assert re.search(f"^{message}", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_help_has_an_example_and_bad_usage_is_exit_code_2():
    shown = python("--help")
    assert shown.returncode == 0
    assert "deepspeed launch/pretrain.py --config" in shown.stdout
    assert python("--no-such-option").returncode == 2


def test_a_launcher_that_contradicts_itself_is_refused():
    command = [sys.executable, SCRIPT, "--config", CONFIG, "--local_rank", "1"]
    variables = environment() | {"LOCAL_RANK": "0"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 2
    assert "--local_rank 1 is not LOCAL_RANK of the environment" in done.stderr
