"""The commands, as a user starts them: exit codes, messages, interruption."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from retfm_dist.shard.manifest import read_manifest
from tests.fakes.archive import SALT, as_parquet, draw_eye, read_tree, write_archive


def command(*arguments):
    return [sys.executable, "-m", "retfm_dist.shard", *map(str, arguments)]


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch, tmp_path):
    """Keep the salts that these builds make out of the user's own configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


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
    assert (summary["num_samples"], summary["out"]) == (12, str(out_dir))
    assert "made a new secret salt" in stderr
    assert stderr.count("\n") == 1
    assert summary["fingerprint"] == read_manifest(out_dir).fingerprint
    assert [path.name for path in out_dir.parent.iterdir()] == ["set"]
    assert (tmp_path / "config" / "retfm_dist" / "pseudonym.salt").exists()
    stdout, _ = run("verify", out_dir, "--full", "--workers", 1)
    assert "every hash and image in order; 12 samples in 1 shards" in stdout
    assert json.loads(run("describe", out_dir, "--json")[0])["num_samples"] == 12
    stdout, _ = run("describe", out_dir)
    assert "12 images of 6 patients in 1 shards" in stdout
    assert "age by sex" in stdout
    assert "field of view: 12 circle" in stdout
    run("preview", out_dir, "--out", tmp_path / "sheet.jpg", "--tile", 32)
    assert (tmp_path / "sheet.jpg").stat().st_size > 1000
    _, stderr = run("preview", out_dir, "--out", tmp_path / "x.jpg", "--kind", "frame", code=1)
    assert "no image is of this kind; got frame, expected circle" in stderr
    stdout, _ = run("verify", out_dir, "--privacy", archive, "--workers", 1)
    assert "none of 30 private values found" in stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "none"), "error: none/manifest.json: not a complete shard set"),
        (("describe", "none"), "error: none/manifest.json: not a complete shard set"),
        (
            ("build", "--table", "none.csv", "--images", ".", "--out", "set"),
            "error: none.csv: cannot read the table",
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


def test_quarantined_photographs_are_pointed_out_and_shown_once_accepted(tmp_path):
    table = write_archive(tmp_path / "archive")
    square = draw_eye(30, side=400).crop((120, 120, 300, 300))
    square.save(table.parent / "clinic" / "doe_002.jpg")
    _, stderr = run(*build_arguments(table, tmp_path / "strict"))
    assert "1 images in quarantine (frame)" in stderr
    run(*build_arguments(table, tmp_path / "set", "--accept", "frame"))
    stdout, _ = run("preview", tmp_path / "set", "--out", tmp_path / "x.png", "--kind", "frame")
    assert stdout.endswith("1 images\n")


def test_an_identifier_in_a_kept_column_is_refused_without_naming_it(tmp_path):
    table = write_archive(tmp_path / "archive")
    table.write_text(table.read_text().replace("Ann", "for NHS-0003"))
    _, stderr = run(*build_arguments(table, tmp_path / "set", "--keep-column", "nurse"), code=1)
    assert (
        "column nurse: a packed column holds what identifies people; got the patient_id of row 7 in row 1"
        in stderr
    )
    assert "NHS-0003" not in stderr


def test_a_salt_inside_the_set_and_a_lost_one_are_refused(tmp_path):
    table = write_archive(tmp_path / "archive")
    arguments = build_arguments(table, tmp_path / "sets" / "a")
    _, stderr = run(*arguments, "--salt-file", tmp_path / "sets" / "a" / "salt", code=1)
    assert "the salt file would lie inside the shard set" in stderr
    run(*arguments)
    arguments = build_arguments(table, tmp_path / "sets" / "b", "--salt-file", tmp_path / "other")
    assert "there is no salt here" in run(*arguments, code=1)[1]
    assert "made a new secret salt" in run(*arguments, "--new-salt")[1]


def start_build(table, out_dir):
    """Start a build in a group of its own."""
    return subprocess.Popen(
        command(*build_arguments(table, out_dir, "--workers", 2)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background jobs ignore SIGINT, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def has_packed(process, out_dir, num_packed):
    """Wait until the build has packed so many images; return False if it ended before."""
    facts = out_dir.with_name(f".{out_dir.name}.partial") / "spool" / "facts"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if facts.read_bytes().count(b"\n") >= num_packed:
                return True
        time.sleep(0.005)
    return False


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


@pytest.fixture(scope="module")
def large_archive(tmp_path_factory):
    """An archive whose packing takes a second, as CSV and Parquet; its set, and the salt of both."""
    root = tmp_path_factory.mktemp("large")
    table = write_archive(root / "archive", count=160, side=700)
    (root / "salt").write_bytes(SALT)
    (root / "salt").chmod(0o600)
    run(*build_arguments(table, root / "sets" / "set", "--salt-file", root / "salt"))
    tables = {"csv": table, "parquet": as_parquet(table)}
    return tables, root / "salt", read_tree(root / "sets" / "set")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "name"),
    [
        (signal.SIGKILL, "parquet"),
        (signal.SIGINT, "csv"),
        (signal.SIGTERM, "parquet"),
        pytest.param(signal.SIGKILL, "csv", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGINT, "parquet", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGTERM, "csv", marks=pytest.mark.exhaustive),
    ],
)
def test_an_interrupted_build_says_so_in_one_line_and_goes_on(
    large_archive, tmp_path, how, name, monkeypatch
):
    tables, salt, expected = large_archive
    table = tables[name]
    out_dir = tmp_path / "sets" / "set"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "retfm_dist").mkdir(parents=True)
    shutil.copy(salt, tmp_path / "config" / "retfm_dist" / "pseudonym.salt")
    process = start_build(table, out_dir)
    assert has_packed(process, out_dir, 20)
    started = time.monotonic()
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: to the command and its workers
    else:
        process.send_signal(how)
    _, stderr = process.communicate(timeout=60)
    assert time.monotonic() - started < 10
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + how
        assert (
            stderr
            == f"interrupted; the same command goes on where this one ended; to give up, remove {out_dir.parent}/.set.partial\n"
        )
    assert not out_dir.exists()
    wait_for_group(process)
    _, stderr = run(*build_arguments(table, out_dir, "--workers", 2))
    assert "images were packed before and are kept" in stderr
    assert [path.name for path in out_dir.parent.iterdir()] == ["set"]
    assert read_tree(out_dir) == expected


@pytest.mark.slow
def test_killed_at_ten_random_moments_a_build_gives_the_same_bytes(large_archive, tmp_path):
    """Of packing, writing and publishing, whether the table is CSV or Parquet."""
    tables, salt, expected = large_archive
    out_dir = tmp_path / "sets" / "set"
    generator = random.Random(0)
    kills = 0
    for attempt in range(10):
        table = tables[("csv", "parquet")[attempt % 2]]
        arguments = build_arguments(table, out_dir, "--workers", 2, "--salt-file", salt)
        process = subprocess.Popen(
            command(*arguments), stderr=subprocess.DEVNULL, start_new_session=True
        )
        # Each attempt goes on where the one before ended.
        has_packed(process, out_dir, 15 * (attempt + 1))
        time.sleep(generator.uniform(0, 0.1))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for_group(process)
        kills += process.returncode == -signal.SIGKILL
        if out_dir.exists():
            assert read_tree(out_dir) == expected
            shutil.rmtree(out_dir)
    assert kills >= 8  # the last may have come to their end
    run(*arguments)
    assert read_tree(out_dir) == expected
    assert [path.name for path in out_dir.parent.iterdir()] == ["set"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_worker_that_is_killed_costs_one_image_at_most(large_archive, tmp_path, name):
    table = large_archive[0][name]
    out_dir = tmp_path / "sets" / "set"
    process = start_build(table, out_dir)
    assert has_packed(process, out_dir, 10)
    worker = max(
        psutil.Process(process.pid).children(recursive=True), key=lambda p: p.memory_info().rss
    )
    worker.kill()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    rejects = (out_dir / "rejects.csv").read_text().splitlines()[1:]
    assert len(rejects) <= 1
    assert all("lost,,the process ended with exit code -9" in line for line in rejects)


@pytest.mark.slow
def test_a_pipe_among_the_images_is_one_reject(tmp_path):
    table = write_archive(tmp_path / "archive", count=200)
    path = table.parent / "clinic" / "doe_003.jpg"
    path.unlink()
    os.mkfifo(path)
    run(*build_arguments(table, tmp_path / "set"))
    line = (tmp_path / "set" / "rejects.csv").read_text().splitlines()[1].split(",")
    assert (line[0], line[2], line[4]) == ("4", "read", "not a regular file but a pipe")


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
