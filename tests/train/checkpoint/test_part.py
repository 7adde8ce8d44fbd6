import hashlib
import os
import threading

import numpy as np
import pytest
from safetensors.numpy import load_file

from retfm_dist.train.checkpoint.layout import Stretch
from retfm_dist.train.checkpoint.part import part_header, write_part

STRETCHES = [(Stretch("weights", "a", 0), 3), (Stretch("exp_avg", "a", 5), 4)]


def bytes_of(values):
    return values.view(np.uint8).data


def test_the_library_reads_what_was_written_and_the_hash_is_the_files(tmp_path):
    values = np.random.default_rng(0).normal(size=7).astype(np.float32)
    facts = write_part(tmp_path / "x", part_header(STRETCHES), bytes_of(values))
    content = (tmp_path / "x").read_bytes()
    assert facts.num_bytes == len(content)
    assert facts.sha256 == hashlib.sha256(content).hexdigest()
    found = load_file(tmp_path / "x")
    assert found["weights/a@0"].tolist() == values[:3].tolist()
    assert found["exp_avg/a@5"].tolist() == values[3:].tolist()


def test_the_values_are_aligned_whatever_the_names():
    for length in range(1, 20):
        header = part_header([(Stretch("weights", "n" * length, 0), 1)])
        assert len(header) % 8 == 0


def test_a_rank_that_owns_nothing_writes_a_file_too(tmp_path):
    write_part(tmp_path / "x", part_header([]), bytes_of(np.empty(0, np.float32)))
    assert load_file(tmp_path / "x") == {}


def test_a_system_that_takes_few_bytes_at_a_time_gets_all(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1000]))
    values = np.arange(5000, dtype=np.float32)
    write_part(tmp_path / "x", part_header([(Stretch("weights", "a", 0), 5000)]), bytes_of(values))
    assert load_file(tmp_path / "x")["weights/a@0"].tolist() == values.tolist()


def test_a_full_disk_is_an_error_and_leaves_no_thread(tmp_path, monkeypatch):
    def full(file, data):
        raise OSError(28, "No space left on device")

    before = threading.active_count()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_part(tmp_path / "x", part_header(STRETCHES), bytes_of(np.zeros(7, np.float32)))
    assert threading.active_count() == before
