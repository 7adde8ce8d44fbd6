import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.samples import check_classes, drop_copies
from tests.fakes.evaluation import write_table
from tests.fakes.tables import COLUMNS, ROWS, flow, hashed, one_task


def test_patients_are_coded_by_first_appearance(archive):
    assert one_task(archive).patients().tolist() == [0, 0, 1, 2]


def test_what_leaves_is_counted_under_its_reason(archive):
    samples = one_task(archive)
    left = samples.keep(samples.labels == 1, reason="healthy")
    assert set(left.labels) == {1}
    assert len(left.records) == int(samples.labels.sum())
    assert flow(left)[-1] == ("healthy", int((samples.labels == 0).sum()))
    assert left.num_rows == samples.num_rows


def test_one_class_alone_is_refused(archive):
    samples = one_task(archive)
    for kept in (samples.labels == 1, np.zeros(len(samples.labels), bool)):
        with pytest.raises(EvaluateError, match="task x: images of every class are needed; got"):
            check_classes(samples.keep(kept, reason="test"))


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
    assert flow(left)[-2:] == [
        ("exact copies under different patients or labels", 2),
        ("exact copy of another image", 1),
    ]
