"""Hostile inputs: each is a right image or a reject with its reason; no crash, hang or flood."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from retfm_dist.errors import ImageError
from retfm_dist.image.read import decode_image
from retfm_dist.image.source import find_source, read_source
from retfm_dist.shard.packing.pack import PackedFacts, PackTask, lose_image, pack_image
from retfm_dist.workers import map_in_order
from tests.fakes.hostile import GARBLED, REFUSED, SOUND, draw, write_hostile

MAX_DIFFERENCE = 3.0
MAX_MISSED = 0.05
MAX_MEMORY_BYTES = 1 << 30
"""Most memory that a worker takes for these inputs, of at most 640 x 853 px."""


def pack_and_measure(task):
    packed = pack_image(task)
    # Not getrusage, whose peak a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    return packed, 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1])


def lose_and_measure(reason):
    return lose_image(reason), 0


def difference(root, item):
    """Return the mean absolute difference of the decoded to the undamaged picture."""
    decoded = decode_image(read_source(find_source(root, item.name))[0])
    return np.abs(decoded.astype(int) - np.asarray(draw(item.picture))).mean()


def check(tmp_path, count):
    root = tmp_path / "archive"
    root.mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    items = [write_hostile(root, seed) for seed in range(count)]
    tasks = (PackTask(root, item.name, 128, 90) for item in items)
    results = list(
        map_in_order(
            pack_and_measure, tasks, workers=2, timeout_s=30, replace_lost=lose_and_measure
        )
    )
    assert len(results) == count
    fates = Counter()
    for item, (packed, memory) in zip(items, results, strict=True):
        assert memory < MAX_MEMORY_BYTES, item
        outcome = packed.outcome
        if not isinstance(outcome, PackedFacts):
            assert outcome.stage in ("read", "decode", "field_of_view"), (item, outcome)
            assert outcome.reason, item
            assert "secret" not in outcome.reason
            assert item.fate != SOUND, (item, outcome)
            fates[item.fate, "rejected"] += 1
            continue
        assert item.fate != REFUSED, item
        is_right = difference(root, item) < MAX_DIFFERENCE
        assert item.fate == GARBLED or is_right, item
        fates[item.fate, "right" if is_right else "missed"] += 1
    missed, rejected = fates[GARBLED, "missed"], fates[GARBLED, "rejected"]
    assert missed <= MAX_MISSED * (missed + rejected), fates
    return fates


@pytest.mark.slow
def test_three_hundred_hostile_inputs(tmp_path):
    fates = check(tmp_path, 300)
    assert fates[SOUND, "right"] > 50
    assert fates[GARBLED, "rejected"] > 40
    assert fates[REFUSED, "rejected"] > 60


@pytest.mark.exhaustive
def test_three_thousand_hostile_inputs(tmp_path):
    fates = check(tmp_path, 3000)
    assert fates[GARBLED, "rejected"] > 400, fates


def test_a_reason_names_no_file(tmp_path):
    with pytest.raises(ImageError) as caught:
        find_source(tmp_path, "smith_jane.jpg")
    assert "smith" not in str(caught.value)
