import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.encode.features import EncodedImages
from retfm_dist.evaluate.usable import drop_missing, drop_unusable
from tests.fakes.tables import flow, hashed, one_task, table


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
