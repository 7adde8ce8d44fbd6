"""The report: one HTML file that needs nothing else, the same in Markdown, its tables, checklists.

Everything is computed from predictions/ and the JSON files beside it; the same input gives the
same bytes.
"""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from retfm_dist.config.load import read_config
from retfm_dist.durable import write_json, write_text
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.judge.output import write_tables
from retfm_dist.evaluate.judge.tables import markdown_text
from retfm_dist.evaluate.protocols import build_protocols
from retfm_dist.evaluate.report.checklists import fill_checklists
from retfm_dist.evaluate.report.compute import compare_with_first, compute_results, metrics_json
from retfm_dist.evaluate.report.context import make_context
from retfm_dist.evaluate.report.tables import make_tables

_FACTS = ("environment", "models", "overlap", "samples")


def render(out_dir: Path) -> Path:
    """Compute metrics.json, tables/, checklists/ and the reports from the predictions in `out_dir`.

    Returns:
        Path of report.html.

    Raises:
        EvaluateError: `out_dir` holds no evaluation, or its predictions are incomplete or faulty.
    """
    config = _read_config(out_dir)
    titles = {protocol.id: protocol.title for protocol in build_protocols(config)}
    results = compute_results(out_dir, config, tuple(titles))
    pairs = compare_with_first(results, config)
    write_json(out_dir / "metrics.json", metrics_json(results, pairs))
    facts = {name: _read_json(out_dir / f"{name}.json") for name in _FACTS}
    write_tables(out_dir / "tables", make_tables(facts["samples"], results, pairs, titles))
    checklists = fill_checklists(config, facts, results)
    for checklist in checklists:
        write_text(out_dir / "checklists" / f"{checklist.id}.md", checklist.markdown())
    context = make_context(out_dir, config, facts, titles, results, pairs)
    context["checklists"] = checklists
    write_text(out_dir / "report.md", _template("report.md.j2").render(context))
    path = out_dir / "report.html"
    write_text(path, _template("report.html.j2").render(context))
    return path


def _read_config(out_dir: Path) -> EvaluateConfig:
    path = out_dir / "config.yaml"
    if not path.is_file() or not (out_dir / "samples.json").is_file():
        raise EvaluateError(
            "no evaluation here",
            where=out_dir,
            expected="config.yaml and samples.json",
            hint="run python -m retfm_dist.evaluate run first",
        )
    return read_config(path, [], EvaluateConfig)


def _template(name: str) -> Any:
    environment = Environment(
        loader=PackageLoader("retfm_dist.evaluate.report", "templates"),
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["cell"] = markdown_text
    return environment.get_template(name)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluateError(
            "cannot read a file of the evaluation",
            where=path,
            got=error,
            hint="run python -m retfm_dist.evaluate run again",
        ) from error
