import csv
import dataclasses
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import CohortError, WorkerError
from retfm_dist.synth import CohortSpec, VisibilityRule, write, write_cohort, write_spec
from retfm_dist.synth.streams import PatientKey
from retfm_dist.synth.write import draw_image

SPEC = CohortSpec(num_patients_per_site=3, size_px=64, seed=11)


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "cohort"
    return write_spec(out, SPEC).parent


def test_the_table_is_one_that_the_pipeline_reads(cohort):
    records = read_archive_table(cohort / "cohort.csv")
    assert len(records) == SPEC.num_images == 12
    assert {record.site for record in records} == {"specialist_hospital", "community_screening"}
    for record in records:
        assert set(record.labels) == {"label_dr", "label_glaucoma"}
        assert set(record.labels.values()) <= {"0", "1"}
        assert record.modality == "cfp"
        assert record.quality in ("good", "usable", "poor")
        with Image.open(cohort / record.image_path) as image:
            assert image.height == 64


def test_every_patient_has_both_eyes_at_one_visit(cohort):
    by_patient: dict[str, list] = {}
    for record in read_archive_table(cohort / "cohort.csv"):
        by_patient.setdefault(record.patient_id, []).append(record)
    assert len(by_patient) == 6
    for eyes in by_patient.values():
        assert [record.eye for record in eyes] == ["left", "right"]
        for column in ("age", "sex", "ethnicity", "device", "captured_on", "exam_id"):
            assert getattr(eyes[0], column) == getattr(eyes[1], column)


def test_the_table_names_exactly_the_files_that_are_there(cohort):
    with (cohort / "cohort.csv").open() as file:
        named = {row["image_path"] for row in csv.DictReader(file)}
    assert named == {str(path.relative_to(cohort)) for path in (cohort / "images").iterdir()}


def test_the_same_spec_gives_the_same_bytes(cohort, tmp_path):
    write_spec(tmp_path / "again", SPEC)
    assert digests(tmp_path / "again") == digests(cohort)
    write_spec(tmp_path / "other", dataclasses.replace(SPEC, seed=12))
    assert not set(digests(tmp_path / "other").values()) & set(digests(cohort).values())


def test_one_picture_drawn_alone_has_the_same_bytes(cohort):
    row, file = draw_image(SPEC, PatientKey(seed=11, site=1, number=2), "right")
    assert (cohort / row["image_path"]).read_bytes() == file


def test_a_larger_cohort_holds_the_smaller_one(cohort, tmp_path):
    write_spec(tmp_path / "larger", dataclasses.replace(SPEC, num_patients_per_site=4))
    small, large = (digests(path / "images") for path in (cohort, tmp_path / "larger"))
    assert small.items() < large.items()


def test_the_number_of_processes_does_not_matter(tmp_path):
    spec = dataclasses.replace(SPEC, num_patients_per_site=5, image_format="mixed")
    for workers in (1, 2):
        write_spec(tmp_path / str(workers), spec, workers=workers)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    assert {path.suffix for path in (tmp_path / "1" / "images").iterdir()} == {
        ".jpg",
        ".png",
        ".tif",
    }


def test_the_planted_truth_is_written_down(tmp_path):
    rule = VisibilityRule("age", ">=", "60", 0.25)
    spec = dataclasses.replace(SPEC, num_patients_per_site=1, lesion_visibility=0.75, rules=(rule,))
    table = write_spec(tmp_path / "out", spec)
    truth = json.loads(table.with_name("planted.json").read_text())
    assert truth["lesion_visibility"] == 0.75
    assert [VisibilityRule(**fields) for fields in truth["rules"]] == [rule]
    assert (truth["seed"], truth["size_px"], truth["num_patients_per_site"]) == (11, 64, 1)


def test_a_rule_changes_the_pictures_of_its_subgroup_alone():
    rule = VisibilityRule("sex", "=", "female", 0.0)
    ruled = dataclasses.replace(SPEC, rules=(rule,))
    differs = {}
    for number in range(30):
        key = PatientKey(seed=11, site=0, number=number)
        row, plain = draw_image(SPEC, key, "left")
        _, planted = draw_image(ruled, key, "left")
        sick = bool(row["label_dr"] or row["label_glaucoma"])
        differs.setdefault((row["sex"], sick), set()).add(plain != planted)
    assert differs == {
        ("female", True): {True},
        ("female", False): {False},
        ("male", True): {False},
        ("male", False): {False},
    }


def test_the_short_form_draws_what_the_spec_draws(cohort, tmp_path):
    table = write_cohort(tmp_path / "short", num_patients_per_site=3, size_px=64, seed=11)
    assert table == tmp_path / "short" / "cohort.csv"
    assert digests(table.parent) == digests(cohort)


def test_an_empty_directory_is_filled_and_a_full_one_refused(tmp_path):
    spec = dataclasses.replace(SPEC, num_patients_per_site=1)
    out = tmp_path / "out"
    out.mkdir()
    write_spec(out, spec)
    before = digests(out)
    with pytest.raises(CohortError, match=r"out: already exists and is not empty; choose another"):
        write_spec(out, spec)
    assert digests(out) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_patients_per_site": 0}, "num_patients_per_site: number out of range; got 0"),
        ({"size_px": 32}, "size_px: number out of range; got 32, expected 64 to 4096"),
        ({"seed": -1}, "seed: number out of range; got -1"),
        ({"lesion_visibility": 2.0}, "unusable lesion visibility; got 2.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, message):
    with pytest.raises(CohortError, match=message):
        dataclasses.replace(SPEC, **changes)


def test_at_least_one_process_is_needed(tmp_path):
    with pytest.raises(CohortError, match="workers must be >= 1; got 0"):
        write_spec(tmp_path / "out", SPEC, workers=0)


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CohortError, match="file: cannot write the cohort; got File exists"):
        write_spec(tmp_path / "file" / "out", SPEC)


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def fail_on_right_eyes(spec, key, eye):
        if eye == "right":
            raise OSError(errno.ENOSPC, "No space left on device")
        return draw_image(spec, key, eye)

    monkeypatch.setattr(write, "draw_image", fail_on_right_eyes)
    with pytest.raises(CohortError, match="out: cannot write the cohort; got No space left"):
        write_spec(tmp_path / "out", SPEC)
    assert not list(tmp_path.iterdir())


def die(task):
    os._exit(3)


def test_a_killed_worker_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_draw_task", die)
    spec = dataclasses.replace(SPEC, num_patients_per_site=8)
    with pytest.raises(WorkerError, match="a worker process died.*use fewer workers"):
        write_spec(tmp_path / "out", spec, workers=2)
    assert not list(tmp_path.iterdir())


def test_workers_end_with_a_killed_parent_and_the_next_run_starts_clean(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "retfm_dist.synth", "--out", str(out)]
    options = ["--patients-per-site", "2000", "--size", "256", "--workers", "2"]
    parent = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    staging = tmp_path / ".out.partial" / "images"
    wait_until(lambda: staging.is_dir() and len(list(staging.iterdir())) > 2)
    children = children_of(parent.pid)
    assert len(children) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not any(is_running(child) for child in children))
    assert not out.exists()
    write_spec(out, dataclasses.replace(SPEC, num_patients_per_site=1))
    assert len(list((out / "images").iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def wait_until(condition, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
