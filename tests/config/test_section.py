import pytest
from pydantic import ValidationError

from retfm_dist.config.section import Fraction, Positive, Section


class Sample(Section):
    """A section of a test."""

    count: Positive
    """Said in the schema."""
    share: Fraction = 0.5


def test_sections_are_closed_frozen_and_say_what_they_mean():
    sample = Sample(count=3)
    with pytest.raises(ValidationError, match="frozen"):
        sample.count = 4
    with pytest.raises(ValidationError, match="Extra inputs"):
        Sample(count=3, other=1)
    assert Sample.model_json_schema()["properties"]["count"]["description"] == "Said in the schema."


@pytest.mark.parametrize(
    "values", [{"count": 0}, {"count": 1, "share": 1.1}, {"count": 1, "share": float("nan")}]
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        Sample(**values)
