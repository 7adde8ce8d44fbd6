import dataclasses

from retfm_dist.cohort.columns import (
    ARCHIVE_COLUMNS,
    OPTIONAL_COLUMNS,
    PACKED_COLUMNS,
    PRIVATE_COLUMNS,
    REQUIRED_COLUMNS,
)
from retfm_dist.cohort.records import ImageRecord
from retfm_dist.shard.sample import RESERVED_COLUMNS, Sample


def test_every_column_is_a_field_of_a_record_and_nothing_else_is():
    fields = {field.name for field in dataclasses.fields(ImageRecord)}
    assert fields == {column.name for column in ARCHIVE_COLUMNS} | {"row", "labels"}


def test_columns_that_identify_are_never_packed():
    packed = {column.name for column in PACKED_COLUMNS}
    assert set(PRIVATE_COLUMNS) == {"image_path", "patient_id", "exam_id", "captured_on"}
    assert not packed & set(PRIVATE_COLUMNS)
    assert packed <= RESERVED_COLUMNS
    assert packed <= {field.name for field in dataclasses.fields(Sample)}
    assert not set(PRIVATE_COLUMNS) & {field.name for field in dataclasses.fields(Sample)}


def test_required_and_optional_columns_are_all_of_them():
    assert REQUIRED_COLUMNS == ("image_path", "patient_id")
    assert len(REQUIRED_COLUMNS) + len(OPTIONAL_COLUMNS) == len(ARCHIVE_COLUMNS)
