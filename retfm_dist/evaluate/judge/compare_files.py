"""`evaluate compare`: two models on one or several test sets, from their prediction files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.compare import (
    Comparison,
    align,
    claim_of,
    compare_metrics,
    cross_check,
)
from retfm_dist.evaluate.judge.forest import ForestRow, draw_forest
from retfm_dist.evaluate.judge.measure import rounded
from retfm_dist.evaluate.judge.output import Figure, Judgement, check_output, write_judgement
from retfm_dist.evaluate.judge.pooling import Pooled, pool_sets
from retfm_dist.evaluate.judge.splits import separate
from retfm_dist.evaluate.judge.tables import Table, number, p_text, span
from retfm_dist.evaluate.judge.titles import metric_title
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.statistics.multiplicity import adjust, benjamini_hochberg, holm
from retfm_dist.statistics.paired import adjusted_verdict


@dataclass(frozen=True)
class CompareOptions:
    """How models are compared.

    Attributes:
        margin: Largest difference that does not matter.
        alpha: Level of each test.
        primary: Metric whose p values form the primary family.
        num_resamples: Of the two-level bootstrap.
        num_permutations: Of the exchange of models within patients.
        seed: Of both.
    """

    margin: float
    alpha: float
    primary: str
    num_resamples: int
    num_permutations: int
    seed: int


@dataclass(frozen=True)
class TestSet:
    """Two models on one test set.

    Attributes:
        name: Name of the first file, or "first against second" where their names differ.
        predictions: The test images under the first model.
        compared: Comparisons by metric.
        checks: Other tests of the AUROC, JSON values.
        files: Those of the first and the second model.
    """

    __test__ = False  # not a test class

    name: str
    predictions: Predictions
    compared: Mapping[str, Comparison]
    checks: Mapping[str, Any]
    files: tuple[Path, Path]


def compare_files(
    pairs: Sequence[tuple[Path, Path]], out_dir: Path, options: CompareOptions
) -> Path:
    """Compare two models on each of several test sets.

    Args:
        pairs: Prediction files of the first and of the second model, one pair per test set.
        out_dir: Where to; an earlier judgement there is replaced.
        options: How.

    Returns:
        Path of report.html.

    Raises:
        EvaluateError: A file is faulty, the files of a pair are not about the same images, or
            `out_dir` holds something else.
    """
    check_output(out_dir)
    sets = [_compare_pair(a, b, options) for a, b in pairs]
    for item in sets:
        if options.primary not in item.compared:
            raise EvaluateError(
                "no such metric to compare",
                where=item.name,
                got=options.primary,
                expected=", ".join(item.compared),
            )
    primary = [item.compared[options.primary] for item in sets]
    adjusted = adjust([c.test.p for c in primary], holm)
    pooled = pool_sets(
        [(c, item.predictions) for c, item in zip(primary, sets, strict=True)],
        margin=options.margin,
        alpha=options.alpha,
    )
    secondary = [
        (item.name, c) for item in sets for n, c in item.compared.items() if n != options.primary
    ]
    adjusted_secondary = adjust([c.test.p for _, c in secondary], benjamini_hochberg)
    tables = [
        _primary_table(sets, primary, adjusted, options),
        _file_table(sets),
        *([pooled.table()] if pooled else []),
        _secondary_table(secondary, adjusted_secondary),
        *_check_tables(sets),
    ]
    numbers = {
        "margin": options.margin,
        "alpha": options.alpha,
        "primary": options.primary,
        "sets": [
            {
                "name": item.name,
                "primary": {**item.compared[options.primary].as_json(), "p_holm": rounded(p)},
                "metrics": {name: c.as_json() for name, c in item.compared.items()},
                "cross_checks": dict(item.checks),
            }
            for item, p in zip(sets, adjusted, strict=True)
        ],
        "pooled": None if pooled is None else pooled.as_json(),
    }
    judgement = Judgement(
        "compare",
        title=_title(pairs),
        sentences=_sentences(sets, adjusted, pooled, options),
        numbers=numbers,
        tables=tables,
        figures=[_forest(sets, primary, pooled, options)],
    )
    return write_judgement(out_dir, judgement)


def _compare_pair(path_a: Path, path_b: Path, options: CompareOptions) -> TestSet:
    a = read_predictions(path_a)
    b = align(a, read_predictions(path_b))
    judged = separate(a), separate(b)
    compared = compare_metrics(
        judged[0].predictions,
        judged[1].predictions,
        margin=options.margin,
        alpha=options.alpha,
        thresholds=(judged[0].thresholds, judged[1].thresholds),
    )
    checks = cross_check(
        judged[0].predictions,
        judged[1].predictions,
        alpha=options.alpha,
        num_resamples=options.num_resamples,
        num_permutations=options.num_permutations,
        seed=options.seed,
    )
    name = path_a.stem if path_a.stem == path_b.stem else f"{path_a.stem} against {path_b.stem}"
    return TestSet(name, judged[0].predictions, compared, checks, (path_a, path_b))


def _sentences(
    sets: Sequence[TestSet],
    adjusted: Sequence[float | None],
    pooled: Pooled | None,
    options: CompareOptions,
) -> list[str]:
    sentences = []
    for item, p in zip(sets, adjusted, strict=True):
        found = item.compared[options.primary]
        verdict = adjusted_verdict(found.test.verdict, p, alpha=options.alpha)
        phrase = claim_of(verdict, "A", "B", margin=options.margin)
        sentences.append(
            f"{item.name}: {phrase}; difference of {metric_title(options.primary)} "
            f"{number(found.test.value, signed=True)} "
            f"({span(found.test.interval.low, found.test.interval.high, signed=True)})."
        )
    if pooled is not None:
        sentences.append(pooled.sentence())
    return sentences


def _primary_table(
    sets: Sequence[TestSet],
    primary: Sequence[Comparison],
    adjusted: Sequence[float | None],
    options: CompareOptions,
) -> Table:
    rows = [
        [
            item.name,
            number(c.value_a),
            number(c.value_b),
            number(c.test.value, signed=True),
            span(c.test.interval.low, c.test.interval.high, signed=True),
            p_text(c.test.p),
            p_text(p),
            p_text(c.test.p_equivalence),
            adjusted_verdict(c.test.verdict, p, alpha=options.alpha),
            f"{c.num_images} / {c.num_patients}",
        ]
        for item, c, p in zip(sets, primary, adjusted, strict=True)
    ]
    return Table(
        "primary",
        f"Primary: {metric_title(options.primary)}",
        ("test set", "A", "B", "A - B", f"{100 * (1 - options.alpha):g} % interval", "p",
         "p (Holm)", "p equivalence", "verdict", "images / patients"),
        rows,
        f"Differences are turned so that more is better for A. Equivalent: within "
        f"{options.margin:g} by two one-sided tests. Paired by patient.",
    )  # fmt: skip


def _secondary_table(
    secondary: Sequence[tuple[str, Comparison]], adjusted: Sequence[float | None]
) -> Table:
    rows = [
        [
            name,
            c.metric,
            number(c.value_a),
            number(c.value_b),
            number(c.test.value, signed=True),
            span(c.test.interval.low, c.test.interval.high, signed=True),
            p_text(c.test.p),
            p_text(p),
        ]
        for (name, c), p in zip(secondary, adjusted, strict=True)
    ]
    return Table(
        "secondary",
        "Secondary metrics",
        ("test set", "metric", "A", "B", "A - B", "interval", "p", "p (Benjamini-Hochberg)"),
        rows,
        "Exploratory: the adjustment keeps the share of false claims down, not each of them.",
        {c.metric: metric_title(c.metric) for _, c in secondary},
    )


def _check_tables(sets: Sequence[TestSet]) -> list[Table]:
    rows = [
        [
            item.name,
            method.replace("_", " "),
            p_text(check.get("p")),
            span(check.get("lo"), check.get("hi"), signed=True),
            check.get("note", ""),
        ]
        for item in sets
        for method, check in item.checks.items()
    ]
    if not rows:
        return []
    headings = ("test set", "method", "p", "interval", "note")
    return [Table("cross_checks", "The AUROC by other methods", headings, rows)]


def _title(pairs: Sequence[tuple[Path, Path]]) -> str:
    """Return a title that names two single files; of more, the page has a table."""
    a, b = pairs[0]
    is_told = len(pairs) == 1 and a.stem != b.stem
    return f"Comparison of A, {a.stem}, and B, {b.stem}" if is_told else "Comparison of A and B"


def _file_table(sets: Sequence[TestSet]) -> Table:
    # Not whole paths: the page is the same wherever the files are.
    rows = [[item.name, *(f"{p.parent.name}/{p.name}" for p in item.files)] for item in sets]
    return Table("files", "Files of A and B", ("test set", "A", "B"), rows)


def _forest(
    sets: Sequence[TestSet],
    primary: Sequence[Comparison],
    pooled: Pooled | None,
    options: CompareOptions,
) -> Figure:
    rows = [
        ForestRow(item.name, c.test.value, c.test.interval.low, c.test.interval.high)
        for item, c in zip(sets, primary, strict=True)
    ]
    if pooled is not None:
        rows.append(ForestRow("together", pooled.value, pooled.low, pooled.high, is_pooled=True))
    axis = f"difference of {metric_title(options.primary)}, A - B; shaded: margin"
    return Figure(
        f"Differences of {metric_title(options.primary)}",
        draw_forest(rows, axis=axis, margin=options.margin, prefix="forest"),
    )
