"""ROC curves as inline SVG: no script, no font file, no address outside the page."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from retfm_dist.evaluate.score import RocCurve

# Okabe and Ito's palette, told apart by people of every color vision; line styles for print.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLES = ("-", "--", "-.", ":")
_TEXT = "#1f2933"
_SIDE_INCHES = 4.4
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
        label: Its line in the legend.
        slot: Which color and line style it has, the same for a model on every figure.
        curve: The curve.
    """

    label: str
    slot: int
    curve: RocCurve


def draw_roc(curves: Sequence[NamedCurve], *, title: str, prefix: str) -> str:
    """Draw ROC curves with their bands.

    Args:
        curves: Curves in the order of the legend; the first is drawn on top.
        title: Accessible name of the picture.
        prefix: Start of every id in the SVG, unique on the page.

    Returns:
        An `<svg>` element.
    """
    with matplotlib.rc_context(_STYLE_SHEET):
        figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES))
        axes = figure.add_axes((0.13, 0.12, 0.84, 0.85))
        axes.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=0.8, linestyle=(0, (2, 3)))
        for order, named in enumerate(reversed(curves)):
            color = PALETTE[named.slot % len(PALETTE)]
            style = _STYLES[named.slot % len(_STYLES)]
            curve = named.curve
            if curve.low is not None and curve.high is not None:
                axes.fill_between(
                    curve.rates, curve.low, curve.high, step="post", color=color, alpha=0.13, lw=0
                )
            axes.plot(
                curve.points[:, 0],
                curve.points[:, 1],
                color=color,
                linestyle=style,
                linewidth=1.8,
                label=named.label,
                zorder=3 + order,
            )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles[::-1],
            labels[::-1],
            loc="lower right",
            fontsize=8.5,
            frameon=True,
            framealpha=0.9,
            edgecolor="none",
        )
        return _to_inline(figure, title=title, prefix=prefix)


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
