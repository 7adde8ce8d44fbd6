"""ROC curves as inline SVG: no script, no font file, no address outside the page."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retfm_dist.evaluate.judge.curves import RocCurve

# Okabe and Ito's palette, told apart by people of every color vision.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_TEXT = "#1f2933"
_SIDE_INCHES = 3.0
_MAX_COLUMNS = 3
_STYLE_SHEET: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "retfm",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": _TEXT,
    "axes.linewidth": 0.8,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "text.color": _TEXT,
}


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
    with matplotlib.rc_context(_STYLE_SHEET):
        figure = Figure(
            figsize=(columns * _SIDE_INCHES, rows * (_SIDE_INCHES + 0.25)), layout="constrained"
        )
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, named in zip(panels, curves, strict=False):
            _draw_panel(panel, named, [other for other in curves if other is not named])
        for unused in panels[len(curves) :]:
            unused.set_visible(False)
        return _to_inline(figure, title=title, prefix=prefix)


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


def _to_inline(figure: Figure, *, title: str, prefix: str) -> str:
    """Return the bare `<svg>` element of a figure, scaling with its container."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids are unique within one figure only; the page holds several.
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    head, body = svg.split(">", 1)
    view_box = re.search(r'viewBox="[^"]*"', head)
    assert view_box is not None
    opening = (
        f'<svg {view_box[0]} xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" role="img"'
    )
    return f"{opening}><title>{_escape(title)}</title>{body.strip()}"


_NO_METADATA: Mapping[str, None] = {
    "Date": None,
    "Creator": None,
    "Format": None,
    "Type": None,
}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
