"""The commands, as a user starts them: exit codes, messages, interruption."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from retfm_dist.shard.manifest import read_manifest
from tests.fakes.archive import draw_eye, write_archive


def command(*arguments):
    return [sys.executable, "-m", "retfm_dist.shard", *map(str, arguments)]


def run(*arguments, code=0):
    """Run a command; return what it printed on stdout and stderr."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def build_arguments(table, out_dir, *more):
    return (
        "build",
        "--table",
        table,
        "--images",
        table.parent,
        "--out",
        out_dir,
        "--size",
        48,
        *more,
    )


def test_build_verify_describe_preview(archive, tmp_path):
    out_dir = tmp_path / "sets" / "set"
    stdout, stderr = run(
        *build_arguments(archive, out_dir, "--workers", 2, "--json", "--keep-column", "nurse")
    )
    summary = json.loads(stdout)
    assert (summary["num_samples"], summary["out"], stderr) == (12, str(out_dir), "")
    assert summary["fingerprint"] == read_manifest(out_dir).fingerprint
    assert {path.name for path in out_dir.parent.iterdir()} == {"set", "pseudonym.salt"}
    stdout, _ = run("verify", out_dir, "--full", "--workers", 1)
    assert "every hash and image in order; 12 samples in 1 shards" in stdout
    assert json.loads(run("describe", out_dir, "--json")[0])["num_samples"] == 12
    stdout, _ = run("describe", out_dir)
    assert "12 images of 6 patients in 1 shards" in stdout
    assert "age by sex" in stdout
    run("preview", out_dir, "--out", tmp_path / "sheet.jpg", "--tile", 32)
    assert (tmp_path / "sheet.jpg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "none"), "error: none/manifest.json: not a complete shard set"),
        (("describe", "none"), "error: none/manifest.json: not a complete shard set"),
        (
            ("build", "--table", "none.csv", "--images", ".", "--out", "set"),
            "error: none.csv: cannot read the table",
        ),
        (
            ("build", "--table", "t", "--images", ".", "--out", "s", "--salt-file", "s/x"),
            "error: s/x: the salt file would lie inside the shard set",
        ),
    ],
)
def test_a_users_mistake_is_one_line_and_code_1(arguments, message):
    stdout, stderr = run(*arguments, code=1)
    assert stdout == ""
    assert stderr.startswith(message)
    assert stderr.count("\n") == 1


def test_wrong_usage_is_code_2():
    assert "--images" in run("build", "--table", "x.csv", code=2)[1]


@pytest.mark.parametrize("name", ["build", "verify", "describe", "preview"])
def test_help_has_an_example(name):
    assert f"Example: python -m retfm_dist.shard {name}" in run(name, "--help")[0]


def test_photographs_that_are_packed_whole_are_pointed_out(tmp_path):
    table = write_archive(tmp_path / "archive")
    square = draw_eye(30, side=400).crop((120, 120, 300, 300))
    square.save(table.parent / "clinic" / "doe_002.jpg")
    _, stderr = run(*build_arguments(table, tmp_path / "set"))
    assert "1 photographs have no round outline and are packed whole" in stderr


def start_build(table, out_dir):
    """Start a build of a set with `stuck_image` and return it once it is packing."""
    process = subprocess.Popen(
        command(*build_arguments(table, out_dir, "--workers", 2)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs ignore SIGINT, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    spool = out_dir.with_name(f".{out_dir.name}.partial") / ".spool"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        workers = psutil.Process(process.pid).children(recursive=True)
        # A worker that is ready has a second thread, which watches its parent.
        if spool.exists() and sum(is_ready(worker) for worker in workers) == 2:
            return process
        time.sleep(0.01)
    pytest.fail("the build did not start to pack")


def is_ready(worker):
    try:
        return worker.num_threads() > 1
    except psutil.Error:
        return False


@contextlib.contextmanager
def stuck_image(path):
    """Put a pipe without a writer in an image's place: whoever reads it is kept waiting."""
    aside = path.with_suffix(".aside")
    path.rename(aside)
    os.mkfifo(path)
    yield
    aside.replace(path)


def wait_for_group(process):
    """Wait until no process of the build's group is left."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("worker processes outlived the build")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_leaves_no_set_and_can_be_started_again(tmp_path, how):
    table = write_archive(tmp_path / "archive", count=60)
    out_dir = tmp_path / "sets" / "set"
    with stuck_image(table.parent / "clinic" / "doe_030.jpg"):
        process = start_build(table, out_dir)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to the command and its workers
        else:
            process.kill()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode not in (0, 1)
    assert "Traceback" not in stderr
    assert not out_dir.exists()
    wait_for_group(process)
    if how == signal.SIGINT:
        assert {path.name for path in out_dir.parent.iterdir()} == {"pseudonym.salt"}
    run(*build_arguments(table, out_dir, "--workers", 2))
    assert {path.name for path in out_dir.parent.iterdir()} == {"pseudonym.salt", "set"}
    assert "60 samples" in run("verify", out_dir, "--full", "--workers", 1)[0]


def test_the_former_name_of_the_table_option_works_with_one_line_of_advice(tmp_path):
    table = write_archive(tmp_path / "archive")
    words = [
        word if word != "--table" else "--manifest"
        for word in build_arguments(table, tmp_path / "set")
    ]
    stdout, stderr = run(*words)
    assert "12 of 12 images" in stdout
    assert stderr.count("--manifest is now --table") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [([], "Missing option '--table'"), (["--table", "t.csv", "--manifest", "t.csv"], "Give --table only")],
)  # fmt: skip
def test_the_table_is_named_once(tmp_path, options, message):
    words = ["build", *options, "--images", tmp_path, "--out", tmp_path / "set"]
    done = subprocess.run(command(*words), capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
