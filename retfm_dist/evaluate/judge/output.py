"""The output directory of a judgement: numbers, tables and a page, replaced as a whole.

OUT/
    NAME.json          every number; NAME is score, compare, fairness or transfer
    metrics.json metrics.csv    of score: the metrics of the images; those of all levels in rows
    TABLE.csv TABLE.tex    each table of the page
    report.md report.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from retfm_dist.directories import replaced_directory
from retfm_dist.durable import write_json, write_text
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.judge.tables import Table, markdown_text


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes:
        title: Caption.
        svg: An `<svg>` element.
    """

    title: str
    svg: str


@dataclass(frozen=True)
class Judgement:
    """What one command has to say.

    Attributes:
        command: One of `COMMANDS`.
        title: Of the page.
        sentences: The result in words, no more than the tests support.
        numbers: Content of NAME.json.
        tables: Tables of the page.
        figures: Its figures.
        files: Text of further files, by name.
    """

    command: str
    title: str
    sentences: Sequence[str]
    numbers: Mapping[str, Any]
    tables: Sequence[Table]
    figures: Sequence[Figure] = ()
    files: Mapping[str, str] = field(default_factory=dict)


COMMANDS = ("score", "compare", "fairness", "transfer")


def check_output(out_dir: Path) -> None:
    """Refuse to replace a directory that no command of this kind has written.

    Raises:
        EvaluateError: See above.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise EvaluateError("a file, not a directory", where=out_dir, hint="choose another --out")
    if not out_dir.is_dir() or not any(out_dir.iterdir()):
        return
    if not any((out_dir / f"{command}.json").is_file() for command in COMMANDS):
        raise EvaluateError(
            "the directory holds something else",
            where=out_dir,
            got=sorted(path.name for path in out_dir.iterdir())[0],
            hint="choose another --out",
        )


def write_tables(directory: Path, tables: Sequence[Table]) -> None:
    """Write each table as CSV and LaTeX."""
    for table in tables:
        write_text(directory / f"{table.name}.csv", table.csv())
        write_text(directory / f"{table.name}.tex", table.latex())


def write_judgement(out_dir: Path, judgement: Judgement) -> Path:
    """Write a judgement, in place of an earlier one.

    Args:
        out_dir: Output directory, checked by `check_output`.
        judgement: What is written.

    Returns:
        Path of report.html.
    """
    name, title, sentences = judgement.command, judgement.title, judgement.sentences
    with replaced_directory(out_dir) as new_dir:
        body = {"schema": f"retfm-{name}/1", "sentences": list(sentences), **judgement.numbers}
        write_json(new_dir / f"{name}.json", body)
        for file_name, text in judgement.files.items():
            write_text(new_dir / file_name, text)
        write_tables(new_dir, judgement.tables)
        parts = [f"# {markdown_text(title)}", ""]
        parts += [*(f"- {markdown_text(sentence)}" for sentence in sentences), ""]
        parts += [table.markdown() for table in judgement.tables]
        write_text(new_dir / "report.md", "\n".join(parts))
        page = _environment().get_template("judgement.html.j2")
        css = (files("retfm_dist.evaluate.report") / "templates" / "report.css").read_text("utf-8")
        write_text(new_dir / "report.html", page.render(css=css, judgement=judgement))
    return out_dir / "report.html"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("retfm_dist.evaluate.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = _unbroken
    return environment


def _unbroken(text: str) -> str:
    """Return text whose intervals stay on one line."""
    return re.sub(r"(?<=\d) to (?=[+-]?\d)", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", text)
