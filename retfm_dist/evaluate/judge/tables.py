"""Tables of a judgement, and their forms: CSV, LaTeX, Markdown."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table as people read it.

    Attributes:
        name: Stem of its files.
        title: Caption.
        headings: One per column.
        rows: Cells as text.
        note: What to know before reading it.
        titles: What people read in place of a cell or heading; CSV keeps the short names.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)

    def shown(self, cells: Sequence[str]) -> list[str]:
        """Return the cells of a row as people read them."""
        return [self.titles.get(cell, cell) for cell in cells]

    def csv(self) -> str:
        """Return the table as CSV."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows(self.rows)
        return buffer.getvalue()

    def latex(self) -> str:
        """Return the table as a LaTeX tabular for booktabs."""
        lines = [
            f"% {' '.join(self.title.split())}",
            rf"\begin{{tabular}}{{{'l' * len(self.headings)}}}",
        ]
        lines += [r"\toprule", _latex_row(self.shown(self.headings)), r"\midrule"]
        lines += [_latex_row(self.shown(row)) for row in self.rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])

    def markdown(self) -> str:
        """Return the table in Markdown, with its title and note."""
        lines = [f"## {markdown_text(self.title)}", ""]
        lines += [markdown_row(self.shown(self.headings)), "|" + "---|" * len(self.headings)]
        lines += [markdown_row(self.shown(row)) for row in self.rows]
        return "\n".join([*lines, *(["", markdown_text(self.note)] if self.note else []), ""])


def markdown_text(text: object) -> str:
    """Return text in which no character has a meaning in Markdown or HTML, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|!&~])", r"\\\1", str(text))
    return " ".join(escaped.split())


def markdown_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def _latex_row(cells: Sequence[str]) -> str:
    texts = ["".join(_LATEX.get(c, c) for c in " ".join(str(cell).split())) for cell in cells]
    return " & ".join(texts) + r" \\"


def number(value: float | None, *, digits: int = 3, signed: bool = False) -> str:
    """Return a number as tables show it; "-" where there is none."""
    if value is None or value != value:
        return "-"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def p_text(p: float | None) -> str:
    """Return a p value as tables show it; "-" where there is none."""
    if p is None or p != p:
        return "-"
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def span(low: float | None, high: float | None, *, digits: int = 3, signed: bool = False) -> str:
    """Return an interval as tables show it; "-" where there is none."""
    if low is None or high is None:
        return "-"
    return " to ".join(number(end, digits=digits, signed=signed) for end in (low, high))
