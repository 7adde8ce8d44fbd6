"""ROC curves as inline SVG: no script, no font file, no address outside the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retfm_dist.evaluate.judge.curves import RocCurve
from retfm_dist.evaluate.judge.svg import STYLE_SHEET, to_inline

# Okabe and Ito's palette, told apart by people of every color vision.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SIDE_INCHES = 3.0
_MAX_COLUMNS = 3


@dataclass(frozen=True)
class NamedCurve:
    """A curve to draw.

    Attributes:
        label: Title of its panel.
        note: Line in its panel, such as the AUROC with its interval.
        slot: Which color it has, the same for a model on every figure.
        curve: The curve.
    """

    label: str
    note: str
    slot: int
    curve: RocCurve


def draw_roc(curves: Sequence[NamedCurve], *, title: str, prefix: str) -> str:
    """Draw ROC curves with their bands, one panel for each, the others in gray behind it.

    Args:
        curves: Curves in the order of the panels.
        title: Accessible name of the picture.
        prefix: Start of every id in the SVG, unique on the page.

    Returns:
        An `<svg>` element.
    """
    columns = min(len(curves), _MAX_COLUMNS)
    rows = -(-len(curves) // columns)
    with matplotlib.rc_context(STYLE_SHEET):
        figure = Figure(
            figsize=(columns * _SIDE_INCHES, rows * (_SIDE_INCHES + 0.25)), layout="constrained"
        )
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, named in zip(panels, curves, strict=False):
            _draw_panel(panel, named, [other for other in curves if other is not named])
        for unused in panels[len(curves) :]:
            unused.set_visible(False)
        return to_inline(figure, title=title, prefix=prefix)


def _draw_panel(axes: Axes, named: NamedCurve, others: Sequence[NamedCurve]) -> None:
    color, curve = PALETTE[named.slot % len(PALETTE)], named.curve
    axes.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=0.8, linestyle=(0, (2, 3)))
    for other in others:
        axes.plot(*other.curve.points.T, color="#c3cbd3", linewidth=1.0)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(
            curve.rates, curve.low, curve.high, step="post", color=color, alpha=0.18, lw=0
        )
    axes.plot(*curve.points.T, color=color, linewidth=1.9)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_title(named.label, loc="left", fontsize=10, fontweight="bold", color=color)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.spines[["top", "right"]].set_visible(False)
    axes.text(0.97, 0.05, named.note, ha="right", fontsize=9)
