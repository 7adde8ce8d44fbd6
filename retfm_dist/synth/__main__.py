"""Draw a synthetic fundus cohort.

Example: python -m retfm_dist.synth --out demo/cohort --patients-per-site 150 --size 512 --seed 0
"""

import json
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from retfm_dist.console import run_command
from retfm_dist.synth.effects import parse_rule
from retfm_dist.synth.write import CohortSpec, write_spec
from retfm_dist.workers import usable_cores


class Format(str, Enum):
    """What the files are."""

    jpg = "jpg"
    mixed = "mixed"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog="Example: python -m retfm_dist.synth --out demo/cohort --patients-per-site 150 "
    "--size 512 --seed 0"
)
def draw(  # noqa: PLR0913 - one parameter per option is how typer declares them
    *,
    out: Annotated[Path, typer.Option(help="New directory: cohort.csv, images/, planted.json.")],
    patients_per_site: Annotated[
        int, typer.Option(help="Patients of each of the two sites; two pictures each.")
    ] = 100,
    size: Annotated[int, typer.Option(help="Height of the pictures, px.")] = 512,
    seed: Annotated[int, typer.Option(help="The same seed draws the same bytes.")] = 0,
    lesion_visibility: Annotated[
        float, typer.Option(help="0: labels are noise within a site; 1: obvious.")
    ] = 1.0,
    visibility_for: Annotated[
        list[str] | None,
        typer.Option(
            help="Another visibility for a subgroup, such as sex=female:0.2 or age>=60:0.5; "
            "repeatable, the last that applies counts."
        ),
    ] = None,
    image_format: Annotated[
        Format,
        typer.Option("--format", help="jpg: JPEG 4:2:0; mixed: 4:2:2, 4:4:4, PNG, TIFF too."),
    ] = Format.jpg,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0 is one per core that this process may use.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Draw fundus photographs of two sites and their archive table."""
    spec = CohortSpec(
        num_patients_per_site=patients_per_site,
        size_px=size,
        seed=seed,
        lesion_visibility=lesion_visibility,
        rules=tuple(parse_rule(text) for text in visibility_for or ()),
        image_format=image_format.value,
    )
    begun_at = time.monotonic()
    table = write_spec(out, spec, workers=workers or usable_cores())
    elapsed_s = time.monotonic() - begun_at
    if as_json:
        result = {"table": str(table), "num_images": spec.num_images, "elapsed_s": elapsed_s}
        print(json.dumps(result))
    else:
        print(f"{table}: {spec.num_images} pictures in {elapsed_s:.1f} s")


if __name__ == "__main__":
    run_command(app)
