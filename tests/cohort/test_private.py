"""Private values are found wherever they stand, in the usual encodings, and chance finds are not."""

import base64

import pytest

from retfm_dist.cohort.private import check_packed_values, collect_private, packed_values
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.errors import CohortError


def record(row=1, **changes):
    values = {
        "image_path": "north/Doe_Jane/img_00417.jpg", "patient_id": "NHS9434765919", "exam_id": "E-20771",
        "captured_on": "2019-03-04", "site": "north", "device": "Topcon", "labels": {"label_x": "1"},
    }  # fmt: skip
    return ImageRecord(row=row, **(values | changes))


@pytest.mark.parametrize(
    "text",
    [
        "NHS9434765919", "nhs9434765919", "x-NHS9434765919-y", "abcNHS9434765919def", "seen E-20771 today", "doe_jane",
        "img_00417", "2019-03-04", "on 04.03.2019", "20190304", "9195674349SHN", "\uff2e\uff28\uff339434765919",
        b"NHS9434765919".hex(), "NHS9434765919".encode("utf-16-le").hex(), "NHS%39434765919",
        base64.b64encode(b"NHS9434765919").decode(), base64.urlsafe_b64encode(b"id: NHS9434765919?").decode().rstrip("="),
    ],
)  # fmt: skip
def test_a_private_value_is_found(text):
    found = collect_private([record()]).find(text)
    assert found is not None
    assert "of row 1" in found


@pytest.mark.parametrize(
    "text", ["north", "Topcon", "1", "NHS", "2019", "E-2077", "img", "0123456789abcdef" * 4, ""]
)
def test_other_text_is_not(text):
    other = record(row=2, image_path="north/b.jpg", patient_id="P2", exam_id=None, captured_on=None)
    assert collect_private([record(), other]).find(text) is None


def test_short_values_count_as_whole_words_only():
    private = collect_private(
        [record(patient_id="P1234", image_path="a.jpg", exam_id=None, captured_on=None)]
    )
    assert private.find("camera P1234") == "the patient_id of row 1"
    assert private.find("XP12345") is None
    assert private.find("AP1234B") is None


def test_a_directory_of_one_patient_is_private_and_a_shared_one_is_not():
    assert collect_private([record()]).find("north") == "the directory of row 1"
    private = collect_private([record(), record(row=2, patient_id="P2", image_path="north/b.jpg")])
    assert private.find("north") is None
    assert private.find("doe_jane") == "the directory of row 1"


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"device": "Topcon of NHS9434765919"}, "device"),
        ({"site": "E-20771"}, "site"),
        ({"ethnicity": "doe_jane"}, "ethnicity"),
        ({"labels": {"label_note": "seen 2019-03-04"}}, "label_note"),
        ({"labels": {"label_note": base64.b64encode(b"NHS9434765919").decode()}}, "label_note"),
    ],
)
def test_a_packed_column_with_an_identifier_is_refused_unnamed(changes, column):
    with pytest.raises(
        CohortError,
        match=f"column {column}: a packed column holds what identifies people; got the .* of row 1 in row 1",
    ) as caught:
        check_packed_values(
            [record(**changes), record(row=2, patient_id="other", image_path="north/b.jpg")]
        )
    assert "9434765919" not in str(caught.value)
    assert "jane" not in str(caught.value)


def test_a_column_that_repeats_short_patient_numbers_is_refused():
    rows = [record(row=n, patient_id=str(n), labels={"label_n": str(n)}) for n in range(1, 6)]
    with pytest.raises(CohortError, match="column label_n.*own patient number in 5 rows"):
        check_packed_values(rows)
    grades = [record(row=n, patient_id=str(n), labels={"label_n": str(n % 2)}) for n in range(1, 6)]
    check_packed_values(grades)


def test_packed_values_are_all_text_of_a_set():
    found = {(column, value) for column, value, _ in packed_values([record()])}
    assert found == {("site", "north"), ("device", "Topcon"), ("label_x", "1")}
