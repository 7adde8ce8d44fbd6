"""Print a shipped or own config in full, or the JSON schema of a pre-training config.

Example: python -m retfm_dist.config --show vitl_moorfields.yaml
"""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from retfm_dist.config.json_schema import json_schema
from retfm_dist.config.load import find_config, read_values
from retfm_dist.config.schema import PretrainConfig
from retfm_dist.config.show import show_config
from retfm_dist.console import run_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m retfm_dist.config --show vitl_moorfields.yaml")
def config(
    show: Annotated[
        str | None,
        typer.Option(
            help="Print this config in full, with the source of every value: a path, or a name in "
            "configs/. Without it, print the JSON schema for editors.",
            metavar="NAME",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override, repeatable.", metavar="A.B=VALUE")
    ] = None,
) -> None:
    """Print a config in full, or the JSON schema of a pre-training config."""

    def command() -> None:
        if show is None:
            print(json_schema(PretrainConfig), end="")
            return
        path = find_config(show)
        print(show_config(path, overrides or [], _schema_of(path)), end="")

    run_command(command)


def _schema_of(path: Path) -> type[BaseModel]:
    """Return what a file is a config of: an evaluation lists tasks, pre-training does not."""
    if "tasks" not in read_values(path):
        return PretrainConfig
    from retfm_dist.evaluate.config import EvaluateConfig

    return EvaluateConfig


if __name__ == "__main__":
    app()
