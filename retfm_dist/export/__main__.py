"""Export a run's checkpoint for timm, RETFound, MAE and the evaluation.

Example: python -m retfm_dist.export runs/fundus_cpu --out exports/fundus_cpu
"""

from pathlib import Path
from typing import Annotated

import typer

from retfm_dist.console import run_command

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m retfm_dist.export runs/fundus_cpu --out exports/fundus_cpu")
def export(
    run_dir: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[Path, typer.Option(help="Export directory; must not exist.")],
    step: Annotated[
        int | None, typer.Option(help="Step of the checkpoint; default: the newest complete one.")
    ] = None,
    average: Annotated[
        bool,
        typer.Option("--average", help="Export the running mean of the weights in their place."),
    ] = False,
) -> None:
    """Write model.safetensors, retfound.pth, mae.safetensors, a model card and the provenance."""
    from retfm_dist.export.write import write_export

    def command() -> None:
        print(write_export(run_dir, out, step=step, average=average))

    run_command(command)


if __name__ == "__main__":
    app()
