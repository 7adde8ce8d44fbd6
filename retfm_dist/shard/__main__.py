"""`python -m retfm_dist.shard build | index | verify | describe | preview`."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from retfm_dist.console import interruptible, run_command

logger = logging.getLogger(__name__)

app = typer.Typer(
    help="Pack photographs into shard sets; check, describe and show them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

ShardDir = Annotated[Path, typer.Argument(help="Shard set directory.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Worker processes; 0: one per core this process may use.")
]


@app.command()
def build(  # noqa: PLR0913 - one parameter per option of the command line
    images: Annotated[Path, typer.Option(help="Directory that image paths start from.")],
    out: Annotated[Path, typer.Option(help="Directory of the new set; must not exist.")],
    table: Annotated[
        Path | None,
        typer.Option(help="Archive table, CSV or Parquet. Required.", show_default=False),
    ] = None,
    manifest: Annotated[Path | None, typer.Option(hidden=True)] = None,
    size: Annotated[int, typer.Option(help="Side of the packed squares, px.")] = 512,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")] = 95,
    shard_mb: Annotated[float, typer.Option(help="Size of a tar, MB.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the order of the set.")] = 0,
    max_reject_ratio: Annotated[
        float, typer.Option(help="Largest share of unusable images.")
    ] = 0.01,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="Pack pictures that are otherwise put in quarantine: frame (no round outline) or "
            "strokes (a name across the rim); repeatable.",
            metavar="KIND",
            show_default=False,
        ),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(
            help="Modality to pack where the table names one; repeatable. Default: cfp.",
            show_default=False,
        ),
    ] = None,
    duplicates: Annotated[
        str,
        typer.Option(
            help="exact: leave out later copies of a file, report near duplicates. near: leave "
            "out both. refuse: no set if they conflict in patient, eye or label."
        ),
    ] = "exact",
    salt_file: Annotated[
        Path | None,
        typer.Option(
            help="Secret key of the pseudonyms, made if missing. Keep it, keep it secret, keep it "
            "apart from the sets. Default: ~/.config/retfm_dist/pseudonym.salt.",
            show_default=False,
        ),
    ] = None,
    new_salt: Annotated[
        bool,
        typer.Option("--new-salt", help="Use another salt than that of the sets beside OUT."),
    ] = False,
    keep_column: Annotated[
        list[str] | None,
        typer.Option(help="Further column to keep as a label; repeatable.", metavar="NAME"),
    ] = None,
    ids_as_written: Annotated[
        bool,
        typer.Option(
            "--ids-as-written",
            help="Accept patient numbers that look damaged, and nearly alike ones as different.",
        ),
    ] = False,
    image_timeout: Annotated[
        float, typer.Option(help="Longest that one photograph may take, s.")
    ] = 60,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Pack a table's photographs into a new shard set; an interrupted build is continued.

    Example: python -m retfm_dist.shard build --table images.csv --images archive --out shards/a
    """
    from retfm_dist.cohort.private import check_packed_values
    from retfm_dist.cohort.table import read_archive_table
    from retfm_dist.directories import workspace_path
    from retfm_dist.shard.build import build_shards
    from retfm_dist.shard.packing.options import BuildOptions
    from retfm_dist.shard.salting import choose_salt
    from retfm_dist.workers import usable_cores

    records = read_archive_table(
        _choose_table(table, manifest),
        keep_columns=keep_column or (),
        ids_as_written=ids_as_written,
    )
    check_packed_values(records)
    options = BuildOptions(
        images_dir=images,
        salt=choose_salt(salt_file, out, is_new=new_salt),
        size=size,
        quality=quality,
        shard_mb=shard_mb,
        seed=seed,
        max_reject_ratio=max_reject_ratio,
        accept=tuple(accept or ()),
        modalities=tuple(modality or ("cfp",)),
        duplicates=duplicates,
        workers=workers or usable_cores(),
        image_timeout_s=image_timeout,
    )
    note = (
        f"the same command goes on where this one ended; to give up, remove {workspace_path(out)}"
    )
    with interruptible(note):
        summary = build_shards(records, options, out)
    left_out = ", ".join(f"{count} {stage}" for stage, count in summary.rejected.items()) or "none"
    _report(
        asdict(summary) | {"out": str(out)},
        as_json=as_json,
        text=f"{out}: {summary.num_samples} of {summary.num_records} images in "
        f"{summary.num_shards} shards, {summary.num_bytes / 1e6:.1f} MB; left out: {left_out}",
    )


@app.command()
def index(
    shard_dir: Annotated[Path, typer.Argument(help="Directory of tars.", metavar="DIR")],
    decode: Annotated[bool, typer.Option(help="Decode every image and skip damaged ones.")] = True,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Make tars of webdataset or img2dataset a shard set, or make set.index of a set anew.

    Example: python -m retfm_dist.shard index downloads/laion-eyes
    """
    from retfm_dist.shard.foreign import index_tars
    from retfm_dist.shard.manifest import MANIFEST_NAME
    from retfm_dist.shard.set_index import SET_INDEX_NAME, write_set_index
    from retfm_dist.workers import usable_cores

    if (shard_dir / MANIFEST_NAME).exists():
        write_set_index(shard_dir)
        path = shard_dir / SET_INDEX_NAME
        _report({"out": str(path)}, as_json=as_json, text=f"{path}: made anew from the manifest")
        return
    summary = index_tars(shard_dir, decode=decode, workers=workers or usable_cores())
    skipped = ", ".join(f"{count} {what}" for what, count in summary.skipped.items()) or "none"
    if summary.num_turned:
        logger.warning(
            "%d images say that they are to be turned (EXIF); they are trained on as stored",
            summary.num_turned,
        )
    if summary.num_progressive:
        logger.warning(
            "%d images are progressive JPEGs, which a GPU decodes slowly", summary.num_progressive
        )
    _report(
        asdict(summary) | {"out": str(shard_dir)},
        as_json=as_json,
        text=f"{shard_dir}: {summary.num_samples} images in {summary.num_shards} tars; "
        f"skipped: {skipped}",
    )


@app.command()
def verify(
    shard_dir: ShardDir,
    full: Annotated[bool, typer.Option("--full", help="Check every hash and image, too.")] = False,
    privacy: Annotated[
        Path | None,
        typer.Option(
            help="Archive table: prove that none of its private values stands in the set.",
            metavar="TABLE",
            show_default=False,
        ),
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(help="With --privacy: log of a job to search as well; repeatable."),
    ] = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Check that a shard set is complete, consistent and, with --full, unchanged to the bit.

    Example: python -m retfm_dist.shard verify shards/site --full
    """
    from retfm_dist.shard.verify import verify_shards
    from retfm_dist.workers import usable_cores

    summary = verify_shards(shard_dir, full=full, workers=workers or usable_cores())
    what = "every hash and image" if full else "sizes and indexes"
    text = (
        f"{shard_dir}: {what} in order; {summary.num_samples} samples in "
        f"{summary.num_shards} shards, {summary.num_bytes / 1e6:.1f} MB"
    )
    facts = asdict(summary)
    if privacy is not None:
        from retfm_dist.cohort.table import read_archive_table
        from retfm_dist.shard.privacy import check_privacy

        records = read_archive_table(privacy, ids_as_written=True)
        facts["num_private_values"] = check_privacy(shard_dir, records, logs=log or ())
        text += f"; none of {facts['num_private_values']} private values found"
    _report(facts, as_json=as_json, text=text)


@app.command()
def describe(shard_dir: ShardDir, as_json: AsJson = False) -> None:
    """Show totals and composition of a shard set.

    Example: python -m retfm_dist.shard describe shards/site
    """
    from retfm_dist.cohort.composition import GROUPINGS
    from retfm_dist.shard.describe import describe_shards

    facts = describe_shards(shard_dir)
    if as_json:
        _report(facts, as_json=True, text="")
        return
    console = Console()
    composition = facts["composition"]
    patients = composition.get("num_patients", "an unknown number of")
    console.print(
        f"{facts['num_samples']} images of {patients} patients in "
        f"{facts['num_shards']} shards, {facts['num_bytes'] / 1e6:.1f} MB, "
        f"{facts['mean_sample_bytes'] / 1e3:.1f} kB an image",
        highlight=False,
    )
    console.print(f"fingerprint {facts['fingerprint']}", highlight=False)
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts["kinds"].items())
    console.print(f"field of view: {kinds or 'not recorded'}", highlight=False)
    table = Table("grouping", "group", "images", "patients")
    for name in GROUPINGS:
        for row in composition.get("by", {}).get(name, ()):
            table.add_row(name, row["group"], str(row["num_images"]), str(row["num_patients"]))
        table.add_section()
    for row in composition.get("age_by_sex", ()):
        group = f"{row['age_band']}, {row['sex']}"
        table.add_row("age by sex", group, str(row["num_images"]), str(row["num_patients"]))
    if composition:
        console.print(table)


@app.command()
def preview(
    shard_dir: ShardDir,
    out: Annotated[Path, typer.Option(help="Picture to write, .jpg or .png.")],
    kind: Annotated[
        str | None,
        typer.Option(help="Only images of this kind: circle, frame, strokes.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Largest number of images.")] = 96,
    tile: Annotated[int, typer.Option(min=16, max=1024, help="Side of an image, px.")] = 128,
    as_json: AsJson = False,
) -> None:
    """Draw a contact sheet of images spread evenly over a shard set.

    Example: python -m retfm_dist.shard preview shards/site --out sheet.jpg
    """
    from retfm_dist.shard.describe import SheetOptions, write_contact_sheet

    drawn = write_contact_sheet(shard_dir, out, SheetOptions(count=count, tile=tile, kind=kind))
    _report({"out": str(out), "num_images": drawn}, as_json=as_json, text=f"{out}: {drawn} images")


def _choose_table(table: Path | None, manifest: Path | None) -> Path:
    """Return the archive table, named by --table or by the option's former name."""
    if (table is None) == (manifest is None):
        message = "Missing option '--table'." if table is None else "Give --table only."
        raise typer.BadParameter(message)
    if manifest is not None:
        logger.warning("--manifest is now --table; the manifest is the shard set's own file")
        return manifest
    assert table is not None
    return table


def _report(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print a command's result for a program or for a person."""
    print(json.dumps(result, indent=2, sort_keys=True) if as_json else text)


if __name__ == "__main__":
    run_command(app)
