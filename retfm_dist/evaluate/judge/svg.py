"""Figures as inline SVG: no script, no font file, no address outside the page."""

import io
import re
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

_TEXT = "#1f2933"
STYLE_SHEET: dict[Any, Any] = {
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
"""Matplotlib settings under which figures are drawn."""
_NO_METADATA: Mapping[str, None] = {"Date": None, "Creator": None, "Format": None, "Type": None}


def to_inline(figure: Figure, *, title: str, prefix: str) -> str:
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


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
