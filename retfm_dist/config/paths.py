"""Paths in configs, with the home directory and environment variables in them replaced."""

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator


class SecretError(ValueError):
    """A value that a message must not repeat."""


def expand_path(value: Any) -> Any:
    """Replace a leading ~ and every $VARIABLE of a path, as a shell would.

    Args:
        value: Text of the config; anything else is left to the schema.

    Raises:
        ValueError: A variable is not set, or there is no home directory of that name.
    """
    if not isinstance(value, str):
        return value
    expanded = os.path.expandvars(value)
    unset = re.search(r"\$(\w+|\{[^}]*\})", expanded)
    if unset:
        raise ValueError(f"the environment variable {unset[0]} is not set")
    if expanded.startswith("~"):
        try:
            return str(Path(expanded).expanduser())
        except RuntimeError as error:
            raise ValueError(f"no home directory for {expanded.split('/')[0]}") from error
    return expanded


def parse_address(value: Any) -> Any:
    """Check where a shard set is, and replace a leading ~ and variables of a directory.

    Args:
        value: Text of the config.

    Raises:
        ValueError: A variable is not set, the address holds a secret, or it is no text.
    """
    if not isinstance(value, str) or not value:
        raise ValueError("it should be a directory or an address such as s3://bucket/set")
    expanded = expand_path(value)
    if "://" in expanded and "@" in urlsplit(expanded).netloc:
        raise SecretError(
            "an address must not hold a user name or password, because the config is stored with "
            "the run; the store's own variables and files say who asks"
        )
    return expanded if expanded == "/" else expanded.rstrip("/")


ConfigPath = Annotated[Path, BeforeValidator(expand_path)]
"""A path that may begin with ~ and hold environment variables."""


def parse_store_address(value: Any) -> Any:
    """Check an address of an object store.

    Args:
        value: Text of the config.

    Raises:
        ValueError: It names no protocol, or as `parse_address`.
    """
    if value is None:
        return None
    if "://" not in str(value):
        raise ValueError("it should be an address of an object store, such as s3://bucket/run")
    return parse_address(value)


StoreAddress = Annotated[str, BeforeValidator(parse_store_address)]
"""An address with a protocol, such as s3://bucket/run."""

ShardAddress = Annotated[str, BeforeValidator(parse_address)]
"""A directory, as ConfigPath, or the address of a shard set in an object store."""
