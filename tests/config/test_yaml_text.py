import pytest

from retfm_dist.config.yaml_text import format_yaml, parse_yaml
from retfm_dist.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("2E3", 2000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("3", 3),
        ("0x10", 16),
        ("010", "010"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("''", ""),
        ("'1e-4'", "1e-4"),
        ("15 epochs", "15 epochs"),
    ],
)
def test_scalars_follow_the_core_schema(text, value):
    parsed = parse_yaml(text, where="x")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "value", ["1e-4", "true", "null", "~", "010", "0x10", "1.", "", "no", "3", "a: b", "- x"]
)
def test_text_comes_back_as_text(value):
    assert parse_yaml(format_yaml({"key": value}), where="x") == {"key": value}


@pytest.mark.parametrize("value", [1e-4, 1e20, 3, True, None, [1, 2.5], {"a": {"b": []}}])
def test_values_come_back_equal(value):
    assert parse_yaml(format_yaml({"key": value}), where="x") == {"key": value}


def test_repeated_keys_are_refused_at_any_depth():
    with pytest.raises(ConfigError, match=r"x line 4: .*'b' is a duplicate; first in line 2"):
        parse_yaml("a:\n  b: 1\n  c: 2\n  b: 3\n", where="x")


def test_code_is_never_run():
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml("!!python/object/apply:os.getcwd []", where="x")


def test_a_broken_document_is_refused():
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml("a: \x01", where="x")
