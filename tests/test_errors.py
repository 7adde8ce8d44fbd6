import pytest

from retfm_dist.errors import ConfigError, RetfmError


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "it broke"),
        ({"where": "a.yaml"}, "a.yaml: it broke"),
        ({"got": 3}, "it broke; got 3"),
        ({"got": 0, "expected": 4}, "it broke; got 0, expected 4"),
        ({"expected": "a name"}, "it broke; expected a name"),
        (
            {"where": "x", "got": 1, "expected": 2, "hint": "write 2"},
            "x: it broke; got 1, expected 2; write 2",
        ),
    ],
)
def test_a_message_holds_the_parts_given(parts, message):
    assert str(RetfmError("it broke", **parts)) == message


def test_the_tree_is_one():
    assert issubclass(ConfigError, RetfmError)
    assert issubclass(RetfmError, ValueError)
