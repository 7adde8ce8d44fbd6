"""Paths in configs, with the home directory and environment variables in them replaced."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator


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


ConfigPath = Annotated[Path, BeforeValidator(expand_path)]
"""A path that may begin with ~ and hold environment variables."""
