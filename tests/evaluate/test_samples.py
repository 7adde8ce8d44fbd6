import numpy as np
import pytest

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.samples import check_classes
from tests.fakes.tables import flow, one_task


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
        with pytest.raises(EvaluateError, match="task x: both classes are needed; got"):
            check_classes(samples.keep(kept, reason="test"))
