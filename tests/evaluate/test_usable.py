import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.encode.features import EncodedImages
from retfm_dist.evaluate.usable import drop_copies, drop_missing, drop_unusable
from tests.fakes.evaluation import write_table
from tests.fakes.tables import COLUMNS, ROWS, flow, hashed, one_task, table


def test_missing_files_are_left_out_and_counted(archive):
    (archive / "c.png").unlink()
    samples = one_task(archive)
    left = drop_missing(samples, table(archive, max_bad_ratio=0.5))
    assert [record.image_path for record in left.records] == ["a.png", "b.png", "g.png"]
    assert flow(left)[-1] == ("image file missing", 1)


def test_too_many_missing_files_are_an_error_that_names_rows_not_files(archive):
    (archive / "c.png").unlink()
    samples = one_task(archive)
    with pytest.raises(
        EvaluateError,
        match=r"task x, table discs: image files are missing: 1 of 4; got rows 3, expected at most 1.00%",
    ) as caught:
        drop_missing(samples, table(archive, max_bad_ratio=0.01))
    assert "c.png" not in str(caught.value)


def test_unreadable_images_are_left_out_and_counted(archive):
    samples = one_task(archive)
    digests = hashed(samples, archive).digests
    encoded = EncodedImages(digests, {}, bad={digests[samples.records[1].row]: "truncated"})
    left = drop_unusable(samples, encoded, max_bad_ratio=0.25)
    assert ("image unreadable or without a field of view", 1) in flow(left)
    with pytest.raises(EvaluateError, match="images are unreadable: 1 of 4; got rows 2"):
        drop_unusable(samples, encoded, max_bad_ratio=0.2)


def test_copies_are_left_out_and_contradicting_ones_altogether(archive):
    (archive / "b.png").write_bytes(b"a.png")  # same patient, other label
    (archive / "g.png").write_bytes(b"c.png")  # other patient, other label
    samples = one_task(archive)
    digests = hashed(samples, archive).digests
    assert not drop_copies(samples, digests).records
    write_table(archive / "table.csv", [*ROWS, ("h.png", "P5", "L", "here", "0", "", "")], COLUMNS)
    (archive / "b.png").write_bytes(b"b.png")
    (archive / "h.png").write_bytes(b"h.png")
    (archive / "i.png").write_bytes(b"h.png")
    write_table(
        archive / "table.csv",
        [
            *ROWS,
            ("h.png", "P5", "L", "here", "0", "", ""),
            ("i.png", "P5", "L", "here", "0", "", ""),
        ],
        COLUMNS,
    )
    samples = one_task(archive)
    left = drop_copies(samples, hashed(samples, archive).digests)
    assert [record.image_path for record in left.records] == ["a.png", "b.png", "h.png"]
    assert flow(left)[-1] == ("exact copy of another image", 3)
