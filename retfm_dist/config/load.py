"""From a YAML file and `--set` overrides to a checked config, and back to text and a hash.

A problem is reported with the file, the dotted path, the value found and, for an unknown key, the
nearest valid one. Nothing is guessed: text is never taken for a number, nor a number for text.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from retfm_dist.config.folder import config_dir
from retfm_dist.config.paths import SecretError
from retfm_dist.config.schema import PretrainConfig
from retfm_dist.config.yaml_text import format_yaml, parse_yaml
from retfm_dist.errors import ConfigError

Schema = TypeVar("Schema", bound=BaseModel)


def load_config(path: Path, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Read a pre-training config; `run.dir` left out becomes runs/NAME for NAME.yaml.

    Args:
        path: YAML file.
        overrides: Items "section.field=value"; the value is read as YAML, later items win.

    Raises:
        ConfigError: As `read_config`.
    """
    values = read_values(path, overrides)
    name_run_dir(values, path)
    return check_config(values, PretrainConfig, where=path)


def name_run_dir(values: dict[str, Any], path: Path) -> None:
    """Set `run.dir` to runs/NAME for a config file NAME.yaml that leaves it out, in place."""
    if isinstance(values.get("run"), dict):
        values["run"].setdefault("dir", f"runs/{path.stem}")


def read_config(path: Path, overrides: Sequence[str], schema: type[Schema]) -> Schema:
    """Read a YAML file, apply overrides and check the result against a schema.

    Args:
        path: YAML file.
        overrides: Items "section.field=value"; the value is read as YAML, later items win.
        schema: The pydantic model to build.

    Raises:
        ConfigError: The file is missing or not YAML, a key is unknown, repeated or missing, or a
            value has the wrong type or range.
    """
    return check_config(read_values(path, overrides), schema, where=path)


def read_values(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return a YAML file's mapping with the overrides in place, unchecked.

    Raises:
        ConfigError: The file cannot be read or is not a mapping, or an override is not one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("cannot read the config file", where=path, got=error.strerror) from error
    except UnicodeDecodeError as error:
        raise ConfigError("not a text file in UTF-8", where=path) from error
    values = parse_yaml(text, where=path)
    if not isinstance(values, dict):
        raise ConfigError(
            "not a config", where=path, got=type(values).__name__, expected="sections"
        )
    for item in overrides:
        _apply_override(values, item)
    return values


def check_config(values: Mapping[str, Any], schema: type[Schema], *, where: str | Path) -> Schema:
    """Build `schema` from plain values; all problems are reported at once.

    Raises:
        ConfigError: At least one value does not fit.
    """
    try:
        # By way of JSON, so that strict mode takes lists for tuples and text for paths and choices,
        # and still neither "3" for a number nor 3 for text.
        return schema.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        problems = [_describe(detail, schema) for detail in error.errors(include_url=False)]
        separator = "\n  " if len(problems) > 1 else ""
        raise ConfigError(separator + separator.join(problems), where=where) from error
    except TypeError as error:
        raise ConfigError(f"not a YAML scalar, list or mapping: {error}", where=where) from error


def find_config(name: str) -> Path:
    """Return `name` as a path if it exists, else the shipped config of that name.

    Raises:
        ConfigError: There is no such file; the nearest name is suggested.
    """
    shipped = config_dir()
    for candidate in (Path(name), shipped / name):
        if candidate.is_file():
            return candidate
    names = [path.name for path in sorted(shipped.glob("*.yaml"))]
    raise ConfigError(
        "no such config file",
        where=name,
        expected="a path, or one of " + ", ".join(names) if names else "a path",
        hint=_did_you_mean(name, names),
    )


def to_yaml(config: BaseModel) -> str:
    """Return the resolved config, defaults included, as YAML that `read_config` reads back."""
    return format_yaml(config.model_dump(mode="json"))


def config_hash(config: BaseModel) -> str:
    """Return the hex sha256 of the resolved config's canonical JSON."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _apply_override(values: dict[str, Any], item: str) -> None:
    """Set one "section.field=value" in nested mappings; unknown keys are left to the check."""
    dotted, equals, text = item.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError("not an override", where=f"--set {item}", expected="section.field=value")
    for key in keys[:-1]:
        below = values.get(key)
        if below is None:
            below = values[key] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"{key} is not a section", where=f"--set {item}")
        values = below
    values[keys[-1]] = parse_yaml(text, where=f"--set {item}")


def _describe(detail: ErrorDetails, schema: type[BaseModel]) -> str:
    """Return one line: dotted path, what is wrong, and what to do."""
    location = [part for part in detail["loc"] if not str(part).startswith("function-")]
    path = ".".join(str(part) for part in location)
    value = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            hint = _did_you_mean(str(location[-1]), _keys_at(schema, location[:-1]), location[:-1])
            return f"{path}: unknown key" + (f"; {hint}" if hint else "")
        case "missing":
            return f"{path}: missing; add it"
        case "value_error":
            error = detail["ctx"]["error"] if "ctx" in detail else None
            message = detail["msg"] if error is None else str(error)
            is_shown = isinstance(value, (str, int, float)) and not isinstance(error, SecretError)
            found = f"got {value!r}; " if is_shown else ""
            return f"{path}: {found}{message}" if path else message
    message = detail["msg"][0].lower() + detail["msg"][1:]
    note = ""
    if isinstance(value, str) and detail["type"] in {"float_type", "int_type", "bool_type"}:
        note = " (text); in YAML write numbers and true/false without quotes"
    return f"{path}: got {value!r}{note}; {message.replace('input should', 'it should')}"


def _keys_at(schema: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys that `schema` knows at a nested location."""
    model = schema
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = [] if field is None else _models_in(field.annotation)
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models inside an annotation such as `tuple[Task, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _did_you_mean(
    word: str, known: Sequence[str], location: Sequence[int | str] = ()
) -> str | None:
    """Return "did you mean X?" for the nearest known word, if one is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if not near:
        return f"known here: {', '.join(known)}" if known else None
    return "did you mean " + ".".join([*(str(part) for part in location), near[0]]) + "?"
