"""A resolved config with the source of every value, for people."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from retfm_dist.config.load import check_config, name_run_dir, read_values
from retfm_dist.config.yaml_text import format_yaml

_COMMENT_COLUMN = 48


def show_config(path: Path, overrides: Sequence[str], schema: type[BaseModel]) -> str:
    """Return a config as YAML with the source of every value as a comment.

    Args:
        path: YAML file.
        overrides: Items "section.field=value".
        schema: What the file is read as.

    Returns:
        YAML that reads back as the same config; sources are comments: the file, --set, or the
        default of the schema.

    Raises:
        ConfigError: As `read_config`.
    """
    values = read_values(path, overrides)
    name_run_dir(values, path)
    config = check_config(values, schema, where=path)
    sources = {item.partition("=")[0].strip(): "--set" for item in overrides}
    in_file = read_values(path)
    return "".join(
        f"{line:<{_COMMENT_COLUMN - 1}} # {source}\n" if source else f"{line}\n"
        for line, source in _lines(config.model_dump(mode="json"), in_file, sources, path.name)
    )


def _lines(
    values: Mapping[str, Any], in_file: object, sources: Mapping[str, str], name: str
) -> Iterator[tuple[str, str]]:
    """Yield every line with its source; the lines of a section's fields are indented."""
    for key, value in values.items():
        below = in_file.get(key) if isinstance(in_file, Mapping) else None
        is_in_file = isinstance(in_file, Mapping) and key in in_file
        inner = {k.partition(".")[2]: v for k, v in sources.items() if k.startswith(f"{key}.")}
        if isinstance(value, Mapping) and value:
            yield f"{key}:", ""
            for line, source in _lines(value, below, inner, name):
                yield f"  {line}", source
            continue
        source = sources.get(key) or ("--set" if inner else name if is_in_file else "default")
        first, *rest = format_yaml({key: value}).splitlines()
        yield first, source
        yield from ((line, "") for line in rest)
