"""Strict YAML reading and writing: the only module that imports yaml.

PyYAML follows YAML 1.1, where `1e-4` is text, `no` is false, `12:30` is 750 and a repeated key
silently wins. Here scalars follow the YAML 1.2 core schema (`1e-4` and `2E3` are numbers; only
`true` and `false` are booleans; no times, dates or octal numbers) and a repeated key is refused
with its line.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from retfm_dist.errors import ConfigError

_SCALARS = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader with the core schema's scalars and without duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's class-level table

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse duplicate keys in a mapping."""
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} is a duplicate; first in line {seen[key]}",
                    problem_mark=key_node.start_mark,
                )
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


class _PlainDumper(yaml.SafeDumper):
    """SafeDumper whose quoting matches `_StrictLoader`, so that text comes back as text."""

    yaml_implicit_resolvers = _StrictLoader.yaml_implicit_resolvers


for _tag, _pattern, _first in _SCALARS:
    _StrictLoader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))


def parse_yaml(text: str, *, where: str | Path) -> Any:
    """Parse one YAML document.

    Args:
        text: The document.
        where: File or option that the error message names.

    Raises:
        ConfigError: Not YAML, or a repeated key.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"not valid YAML: {error.problem}", where=f"{where}{line}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"not valid YAML: {error}", where=where) from error


def format_yaml(value: object) -> str:
    """Return `value` as block-style YAML in the order of its keys."""
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=False, width=100)
