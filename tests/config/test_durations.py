import pytest
from pydantic import TypeAdapter, ValidationError

from retfm_dist.config.durations import Duration

duration = TypeAdapter(Duration).validate_python


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("800 epochs", 403_200),
        ("0.5 epochs", 252),
        ("1 epoch", 504),
        ("15.1234567 epochs", 7622),
        ("2000 steps", 2000),
        ("723296000 images", 403_625),
        ("1 images", 1),
        ("0 steps", 0),
    ],
)
def test_every_unit_resolves_to_steps(text, steps):
    assert duration(text).to_steps(steps_per_epoch=504, global_batch_size=1792) == steps


@pytest.mark.parametrize(
    "text",
    [
        "800 epochs", "0.5 epochs", "2000 steps", "723296000 images", "1234567 steps",
        "15.1234567 epochs", "0.00001 epochs", "123456789012345 images",
    ],
)  # fmt: skip
def test_text_form_reads_back(text):
    assert str(duration(text)) == text
    assert TypeAdapter(Duration).dump_python(duration(text)) == text
    again = duration(str(duration(text)))
    lengths = {"steps_per_epoch": 50_400, "global_batch_size": 8}
    assert again.to_steps(**lengths) == duration(text).to_steps(**lengths)


@pytest.mark.parametrize(
    "text", ["800", "epochs", "-1 steps", "1.5 steps", "2.5 images", "1e3 steps", "3 days", ""]
)
def test_other_text_is_refused(text):
    with pytest.raises(ValidationError, match="write a number and a unit"):
        duration(text)
