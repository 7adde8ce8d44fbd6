"""Packing a table: what was packed before is kept, what changed since is not, one loss costs one image."""

import os
import signal
from contextlib import closing

import pytest

from retfm_dist.cohort.table import read_archive_table
from retfm_dist.errors import ShardError
from retfm_dist.shard.packing import table as packing
from retfm_dist.shard.packing.options import BuildOptions
from retfm_dist.shard.packing.pack import Packed, PackTask, pack_image
from retfm_dist.shard.packing.spool import Spool
from retfm_dist.shard.packing.table import pack_all
from tests.fakes.archive import SALT, write_archive


@pytest.fixture
def table(tmp_path):
    return write_archive(tmp_path / "archive")


def pack(table, *, workers=1, image_timeout_s=None, **changes):
    records = read_archive_table(table)
    options = BuildOptions(
        images_dir=table.parent, salt=SALT, size=48, workers=workers, image_timeout_s=image_timeout_s,
        **({"max_reject_ratio": 1} | changes),
    )  # fmt: skip
    subjects = {record.patient_id: record.patient_id for record in records}
    out_dir = table.parent.parent / "set"
    with closing(Spool(table.parent.parent / "spool", seed=0, terms={})) as spool:
        return pack_all(records, options, spool, subject_ids=subjects, out_dir=out_dir)


def count_packed(monkeypatch):
    packed = []
    monkeypatch.setattr(
        packing, "pack_image", lambda task: packed.append(task.name) or pack_image(task)
    )
    return packed


def test_a_second_call_packs_what_is_new_or_changed_alone(table, monkeypatch, caplog):
    first, _ = pack(table)
    names = count_packed(monkeypatch)
    (table.parent / "clinic" / "doe_003.jpg").touch()
    (table.parent / "clinic" / "doe_004.jpg").write_bytes(b"now damaged")
    caplog.set_level("INFO")
    second, rejects = pack(table)
    assert names == ["clinic/doe_003.jpg", "clinic/doe_004.jpg"]
    assert "10 images were packed before and are kept" in caplog.text
    assert len(first) == 12
    assert [reject.row for reject in rejects] == [5]
    facts = {record.row: entry.outcome for record, entry in first}
    assert all(entry.outcome == facts[record.row] for record, entry in second)


def test_an_image_that_was_missing_is_tried_again(table):
    path = table.parent / "clinic" / "doe_002.jpg"
    data = path.read_bytes()
    path.unlink()
    assert [reject.reason for reject in pack(table)[1]] == ["no such file"]
    path.write_bytes(data)
    assert pack(table)[1] == []


def die_or_hang(task: PackTask) -> Packed:
    if task.name.endswith("001.jpg"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task.name.endswith("005.jpg"):
        signal.pause()
    return pack_image(task)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_dead_or_stuck_worker_costs_one_image(table, monkeypatch, workers):
    monkeypatch.setattr(packing, "pack_image", die_or_hang)
    packed, rejects = pack(table, workers=workers, image_timeout_s=5)
    assert len(packed) == 10
    assert [(reject.row, reject.stage, reject.reason) for reject in rejects] == [
        (2, "lost", "the process ended with exit code -9"), (6, "lost", "no result within 5 s"),
    ]  # fmt: skip


def test_too_many_rejects_end_the_packing(table):
    for number in range(9, 12):
        (table.parent / "clinic" / f"doe_{number:03d}.jpg").write_bytes(b"no photograph")
    with pytest.raises(ShardError, match="got 3 of 12 "):
        pack(table, max_reject_ratio=0.1)


def test_names_of_files_do_not_reach_the_spool(table):
    pack(table)
    assert b"doe" not in (table.parent.parent / "spool" / "facts").read_bytes()
