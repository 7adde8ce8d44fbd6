"""When too many images are unusable, and what is said of those left out for other reasons."""

import pytest

from retfm_dist.errors import ShardError
from retfm_dist.shard.packing.rejects import (
    Reject,
    are_too_many,
    check_rejects,
    rejects_path,
    render_rejects,
    warn_of_rejects,
)


@pytest.mark.parametrize(
    ("bad", "seen", "total", "ratio", "expected"),
    [
        (1, 12, 12, 0.01, True),
        (1, 11, 12, 0.01, False),  # certain, but the rest is looked at for the whole list
        (100, 500, 5000, 0.01, True),
        (50, 500, 5000, 0.01, False),
        (60, 100, 10**6, 0.01, True),  # most of the first hundred: hopeless
        (60, 100, 10**6, 0.7, False),
        (60, 99, 10**6, 0.01, False),
        (0, 12, 12, 0.0, False),
    ],
)
def test_a_build_is_given_up_when_it_cannot_succeed(bad, seen, total, ratio, expected):
    assert are_too_many(bad, seen, total, max_ratio=ratio) is expected


def rejects(*stages):
    return [
        Reject(row, "s", stage, "why", "frame" if stage == "quarantine" else "")
        for row, stage in enumerate(stages, 1)
    ]


def check(found, tmp_path, *, total=4, ratio=0.5):
    check_rejects(
        found, num_seen=total, num_records=total, max_ratio=ratio, out_dir=tmp_path / "set"
    )


def test_duplicates_and_quarantine_are_no_failures(tmp_path):
    check(rejects("duplicate", "quarantine", "decode"), tmp_path)
    assert not rejects_path(tmp_path / "set").exists()


def test_a_list_lies_beside_when_too_many_fail(tmp_path):
    with pytest.raises(
        ShardError,
        match=r"got 3 of 4 \(2 x \[decode: why\], 1 x \[lost: why\]\), expected at most 50.00%",
    ):
        check(rejects("decode", "lost", "decode"), tmp_path)
    assert rejects_path(tmp_path / "set").read_text() == render_rejects(
        rejects("decode", "lost", "decode")
    )


def test_nothing_left_is_an_error_of_its_own(tmp_path):
    with pytest.raises(
        ShardError, match="no image is left to pack; got 4 of 4 .*--accept and --modality"
    ):
        check(rejects(*["quarantine"] * 4), tmp_path)


def test_what_was_left_out_is_logged_with_the_way_to_pack_it(caplog):
    warn_of_rejects(rejects("quarantine", "quarantine", "duplicate", "decode"))
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "1 images left out as duplicates of others"
    assert messages[1].startswith("2 images in quarantine (frame)")
    assert messages[1].endswith("--accept frame packs them")
