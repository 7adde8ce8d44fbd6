"""Judge exported models.

Example: python -m retfm_dist.evaluate run --config configs/eval_fundus.yaml
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

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
PredictionsFile = Annotated[Path, typer.Option("--predictions", help="Parquet of predictions.")]
NewOut = Annotated[Path, typer.Option("--out", help="Output directory, replaced as a whole.")]
Alpha = Annotated[
    float, typer.Option(min=1e-6, max=0.5, help="1 - coverage; 0.05 gives 95 % intervals.")
]
Margin = Annotated[float, typer.Option(min=1e-6, max=0.5, help="Difference that does not matter.")]
Permutations = Annotated[int, typer.Option(min=99, help="Exchanges behind a p value.")]
Seed = Annotated[int, typer.Option(min=0, help="Of resampling.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@app.command(epilog="Example: python -m retfm_dist.evaluate run --config eval_fundus.yaml")
def run(
    config: ConfigName, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Compute features and predictions, and write metrics and report."""

    def command() -> None:
        from retfm_dist.evaluate.run import run_evaluation
        from retfm_dist.evaluate.show import show_results

        show_results(run_evaluation(_load(config, overrides, out)), as_json=as_json)

    run_command(command)


@app.command(epilog="Example: python -m retfm_dist.evaluate validate --config eval_fundus.yaml")
def validate(
    config: ConfigName, overrides: Overrides = None, out: Out = None, as_json: AsJson = False
) -> None:
    """Check config, files, counts, copies, sets and folds before any model runs."""

    def command() -> None:
        from retfm_dist.evaluate.run import validate as check
        from retfm_dist.evaluate.show import show_counts

        facts = check(_load(config, overrides, out))
        if as_json:
            print(json.dumps(facts, indent=2, sort_keys=True))
        else:
            show_counts(facts)

    run_command(command)


@app.command(epilog="Example: python -m retfm_dist.evaluate report --out reports/fundus")
def report(
    out: Annotated[Path, typer.Option("--out", help="Output directory of an evaluation.")],
    as_json: AsJson = False,
) -> None:
    """Recompute metrics and report from the stored predictions."""

    def command() -> None:
        from retfm_dist.evaluate.report.render import render
        from retfm_dist.evaluate.show import show_results

        show_results(render(out), as_json=as_json)

    run_command(command)


@app.command(epilog="Example: python -m retfm_dist.evaluate score --predictions p.parquet --out s")
def score(
    predictions: PredictionsFile, out: NewOut, alpha: Alpha = 0.05, as_json: AsJson = False
) -> None:
    """Compute every metric of one prediction file, with intervals."""

    def command() -> None:
        from retfm_dist.evaluate.judge.score import score_file

        _finish_judgement(score_file(predictions, out, alpha=alpha), "score", as_json=as_json)

    run_command(command)


@app.command(
    epilog="Example: python -m retfm_dist.evaluate compare --a A.parquet --b B.parquet --out c"
)
def compare(  # noqa: PLR0913 - one argument per option
    a: Annotated[list[Path], typer.Option("--a", help="Predictions of model A; repeatable.")],
    b: Annotated[list[Path], typer.Option("--b", help="Those of model B, in the same order.")],
    out: NewOut,
    margin: Margin = 0.02,
    alpha: Alpha = 0.05,
    metric: Annotated[str, typer.Option("--metric", help="Primary metric.")] = "auroc",
    resamples: Annotated[int, typer.Option(min=100, help="Of the two-level bootstrap.")] = 2000,
    permutations: Permutations = 10_000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare two models on the same images: differences, tests, verdict."""

    def command() -> None:
        from retfm_dist.errors import EvaluateError
        from retfm_dist.evaluate.judge.compare_files import CompareOptions, compare_files

        if len(a) != len(b):
            raise EvaluateError(
                "--a and --b need the same number of files", got=f"{len(a)} and {len(b)}"
            )
        options = CompareOptions(margin, alpha, metric, resamples, permutations, seed)
        report_path = compare_files(list(zip(a, b, strict=True)), out, options)
        _finish_judgement(report_path, "compare", as_json=as_json)

    run_command(command)


@app.command(
    epilog="Example: python -m retfm_dist.evaluate fairness --predictions p.parquet --out f"
)
def fairness(  # noqa: PLR0913 - one argument per option
    predictions: PredictionsFile,
    out: NewOut,
    against: Annotated[
        Path | None, typer.Option(help="Another model on the same images: compare the gaps.")
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="Column that divides patients; repeatable.")
    ] = None,
    intersect: Annotated[
        list[str] | None, typer.Option(help="Columns joined by commas; repeatable.")
    ] = None,
    adjust: Annotated[
        list[str] | None, typer.Option(help="Column to standardize groups over; repeatable.")
    ] = None,
    margin: Margin = 0.02,
    alpha: Alpha = 0.05,
    permutations: Permutations = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare groups of patients: gaps, their value under a fair model, decisions, calibration."""

    def command() -> None:
        from retfm_dist.evaluate.judge.fairness import FairnessOptions
        from retfm_dist.evaluate.judge.fairness_file import judge_fairness

        report_path = judge_fairness(
            predictions,
            out,
            against=against,
            attributes=attribute or [],
            intersections=[names.split(",") for names in intersect or []],
            margin=margin,
            options=FairnessOptions(alpha, permutations, seed, tuple(adjust or ())),
        )
        _finish_judgement(report_path, "fairness", as_json=as_json)

    run_command(command)


@app.command(
    epilog="Example: python -m retfm_dist.evaluate transfer --cells cells.csv --out transfer"
)
def transfer(
    cells: Annotated[
        Path,
        typer.Option(
            help="CSV with model, train, test, path and, if known, task, model_site, test_site."
        ),
    ],
    out: NewOut,
    margin: Margin = 0.02,
    alpha: Alpha = 0.05,
    as_json: AsJson = False,
) -> None:
    """Compare two models over adaptation and test sets: matrices, losses, own-site advantage."""

    def command() -> None:
        from retfm_dist.evaluate.judge.transfer import judge_transfer

        report_path = judge_transfer(cells, out, margin=margin, alpha=alpha)
        _finish_judgement(report_path, "transfer", as_json=as_json)

    run_command(command)


def _finish_judgement(report_path: Path, command: str, *, as_json: bool) -> None:
    """Print the sentences of a judgement, and the path of its report last."""
    if as_json:
        path = report_path.parent / f"{command}.json"
        print(path.read_text(encoding="utf-8"), end="")
        return
    numbers = json.loads((report_path.parent / f"{command}.json").read_text(encoding="utf-8"))
    print("\n".join([*numbers["sentences"], str(report_path)]))


def _load(name: str, overrides: list[str] | None, out: Path | None) -> Any:
    from retfm_dist.config.load import find_config, read_config
    from retfm_dist.evaluate.config import EvaluateConfig

    items = [*(overrides or []), *([f"out={json.dumps(str(out))}"] if out else [])]
    return read_config(find_config(name), items, EvaluateConfig)


if __name__ == "__main__":
    app()
