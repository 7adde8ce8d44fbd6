"""What is carried over from an archive's row, and what is not."""

import json

import pytest

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.image.field_of_view import FieldOfView
from retfm_dist.shard.packing.pack import PackedFacts
from retfm_dist.shard.sample import RESERVED_COLUMNS, make_sample, table_schema

PACKED = PackedFacts(
    height=512, width=512, source_sha256="ffffffffffffffff" + "0" * 48, source_height=9,
    source_width=8, field_of_view=FieldOfView(1.26, 2.04, 3.0, "circle"), perceptual_hash="ab", miniature="",
)  # fmt: skip


def sample_of(**facts):
    record = ImageRecord(row=1, image_path="doe.jpg", patient_id="NHS1", exam_id="E1", **facts)
    return make_sample(record, PACKED, subject_id="0123456789ab")


def test_key_and_uid_come_from_pseudonym_and_content():
    sample = sample_of()
    assert sample.key == "0123456789ab-ffffffffffffffff"
    assert sample.uid == 2**64 - 1


def test_sidecar_is_ascii_json_without_identifiers():
    data = sample_of(
        captured_on="2001-02-03", ethnicity="M\u0101ori", labels={"label_a": "1"}
    ).sidecar()
    facts = json.loads(data.decode("ascii"))
    assert facts["uid"] == "ffffffffffffffff"
    assert facts["ethnicity"] == "M\u0101ori"
    assert facts["labels"] == {"label_a": "1"}
    assert facts["field_of_view"] == {
        "center_y": 1.3,
        "center_x": 2.0,
        "radius": 3.0,
        "kind": "circle",
    }
    assert not any(secret in data for secret in (b"doe", b"NHS1", b"E1", b"2001"))
    assert not {"source_sha256", "perceptual_hash", "row"} & facts.keys()


@pytest.mark.parametrize(
    ("age", "written"), [(None, None), (0.5, 0.5), (90, 90), (90.5, 90), (104, 90)]
)
def test_ages_above_ninety_are_written_as_ninety(age, written):
    assert sample_of(age=age).age == written


def test_table_rows_match_the_schema():
    sample = sample_of(labels={"label_a": "1", "grade": None})
    row = sample.table_row("000000.tar")
    assert list(row) == table_schema(sample.labels).names
    assert set(row) == RESERVED_COLUMNS | {"label_a", "grade"}
    assert (row["shard"], row["grade"]) == ("000000.tar", None)
