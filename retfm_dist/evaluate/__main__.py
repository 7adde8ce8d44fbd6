"""Judge exported models.

Example: python -m retfm_dist.evaluate run --config configs/eval_fundus.yaml
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retfm_dist.console import run_command

app = typer.Typer(
    help="Judge exported models: frozen features, patient-grouped folds, one report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigName = Annotated[
    str, typer.Option("--config", help="YAML file: a path, or a name in configs/.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override, repeatable.", metavar="A.B=VALUE")
]
Out = Annotated[Path | None, typer.Option("--out", help="Output directory; overrides the config.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@app.command(epilog="Example: python -m retfm_dist.evaluate run --config eval_fundus.yaml")
def run(
    config: ConfigName, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Compute features and predictions, and write metrics and report."""

    def command() -> None:
        from retfm_dist.evaluate.run import run_evaluation

        _finish(run_evaluation(_load(config, overrides, out)), as_json=as_json)

    run_command(command)


@app.command(epilog="Example: python -m retfm_dist.evaluate validate --config eval_fundus.yaml")
def validate(
    config: ConfigName, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Check config, files, counts and folds before any feature is computed."""

    def command() -> None:
        from retfm_dist.evaluate.run import validate as check

        facts = check(_load(config, overrides, out))
        if as_json:
            print(json.dumps(facts, indent=2, sort_keys=True))
        else:
            _show_counts(facts)

    run_command(command)


@app.command(epilog="Example: python -m retfm_dist.evaluate report --out reports/fundus")
def report(
    out: Annotated[Path, typer.Option("--out", help="Output directory of an evaluation.")],
    as_json: AsJson = False,
) -> None:
    """Recompute metrics and report from the stored predictions."""

    def command() -> None:
        from retfm_dist.evaluate.report.render import render

        _finish(render(out), as_json=as_json)

    run_command(command)


def _load(name: str, overrides: list[str] | None, out: Path | None) -> Any:
    from retfm_dist.config.load import find_config, read_config
    from retfm_dist.evaluate.config import EvaluateConfig

    items = [*(overrides or []), *([f"out={json.dumps(str(out))}"] if out else [])]
    return read_config(find_config(name), items, EvaluateConfig)


def _finish(report_path: Path, *, as_json: bool) -> None:
    """Print the results, and the path of the report last."""
    metrics = json.loads((report_path.parent / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps({"report": str(report_path), **metrics}, indent=2, sort_keys=True))
        return
    table = _table("task", "model", "protocol", "AUROC", "images", "patients")
    for result in metrics["results"]:
        auroc = result["metrics"]["auroc"]
        span = "" if auroc["lo"] is None else f" [{auroc['lo']:.3f}, {auroc['hi']:.3f}]"
        table.add_row(
            result["task"],
            result["model"],
            result["protocol"],
            escape(f"{auroc['value']:.3f}{span}"),
            str(auroc["n_images"]),
            str(auroc["n_patients"]),
        )
    Console().print(table)
    print(report_path)


def _table(*headings: str) -> Table:
    """Return a table whose cells are never cut."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _show_counts(facts: Mapping[str, Any]) -> None:
    """Print counts of images, patients and groups, and the models."""
    console = Console()
    counts = _table("task", "images", "positive", "patients", "positive", "left out")
    for task in facts["tasks"]:
        left_out = [f"{s['num_images']} {s['reason']}" for s in task["excluded"] if s["num_images"]]
        counts.add_row(
            task["id"],
            str(task["num_images"]),
            str(task["num_positive_images"]),
            str(task["num_patients"]),
            str(task["num_positive_patients"]),
            "\n".join(left_out),
        )
    console.print(counts)
    groups = _table("task", "attribute", "group", "images", "patients", "positive")
    for task in facts["tasks"]:
        for row in task["subgroups"]:
            keys = ("attribute", "group", "num_images", "num_patients", "num_positive_patients")
            groups.add_row(task["id"], *(str(row[key]) for key in keys))
    if groups.row_count:
        console.print(groups)
    models = _table("model", "kind", "weights sha256")
    for model in facts["models"]:
        models.add_row(model["id"], model["kind"], model.get("weights_sha256", "-")[:16])
    console.print(models)


if __name__ == "__main__":
    app()
