"""Forest plot: one difference with its interval per row."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from retfm_dist.evaluate.judge.svg import STYLE_SHEET, to_inline

_WIDTH_INCHES = 7.0
_ROW_INCHES = 0.34


@dataclass(frozen=True)
class ForestRow:
    """A row of a forest plot.

    Attributes:
        label: What the difference is of.
        value: The difference.
        low: Lower bound; None without an interval.
        high: Upper bound, likewise.
        is_pooled: Whether it sums up the others.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    is_pooled: bool = False


def draw_forest(rows: Sequence[ForestRow], *, axis: str, margin: float, prefix: str) -> str:
    """Draw differences around zero, with the margin of equivalence shaded.

    Args:
        rows: From top to bottom.
        axis: Title of the axis.
        margin: Largest difference that does not matter.
        prefix: Start of every id in the SVG, unique on the page.

    Returns:
        An `<svg>` element.
    """
    with matplotlib.rc_context(STYLE_SHEET):
        height = 0.9 + _ROW_INCHES * len(rows)
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-margin, margin, color="#e8edf2", lw=0)
        axes.axvline(0, color="#52606d", linewidth=0.9)
        for place, row in enumerate(rows):
            color = "#1f2933" if row.is_pooled else "#0072b2"
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color=color, linewidth=1.8)
            marker = "D" if row.is_pooled else "o"
            axes.plot(row.value, place, marker=marker, color=color, markersize=6)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(axis)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return to_inline(figure, title=axis, prefix=prefix)
