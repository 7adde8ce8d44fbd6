"""Precision-recall, reliability and decision curves of all models, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retfm_dist.evaluate.judge.curves import (
    trace_net_benefit,
    trace_precision_recall,
    trace_reliability,
)
from retfm_dist.evaluate.judge.svg import STYLE_SHEET, to_inline
from retfm_dist.evaluate.predictions import Predictions
from retfm_dist.evaluate.report.figures import PALETTE

_SIZE_INCHES = (9.0, 3.5)


@dataclass(frozen=True)
class PanelModel:
    """A model to draw.

    Attributes:
        predictions: Its predictions.
        slot: Which color it has, the same for a model on every figure.
    """

    predictions: Predictions
    slot: int

    @property
    def color(self) -> str:
        """Its color."""
        return PALETTE[self.slot % len(PALETTE)]


def draw_panels(models: Sequence[PanelModel], *, title: str, prefix: str) -> str:
    """Draw three panels with one line per model, of the scores averaged over repeats.

    Args:
        models: In the order of the legend; all on the same images.
        title: Accessible name of the picture.
        prefix: Start of every id in the SVG, unique on the page.

    Returns:
        An `<svg>` element.
    """
    with matplotlib.rc_context(STYLE_SHEET):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        panels = figure.subplots(1, 3)
        _draw_precision_recall(panels[0], models)
        _draw_reliability(panels[1], models)
        _draw_net_benefit(panels[2], models)
        for panel in panels:
            panel.spines[["top", "right"]].set_visible(False)
        names = [model.predictions.model for model in models]
        figure.legend(
            panels[0].get_lines()[: len(models)],
            names,
            loc="outside lower center",
            ncols=min(len(names), 4),
            frameon=False,
            fontsize=9,
        )
        return to_inline(figure, title=title, prefix=prefix)


def _draw_precision_recall(axes: Axes, models: Sequence[PanelModel]) -> None:
    for model in models:
        recall, precision = trace_precision_recall(model.predictions).T
        axes.step(recall, precision, where="post", color=model.color, linewidth=1.6)
    prevalence = float(models[0].predictions.labels.mean())
    axes.axhline(prevalence, color="#9aa5b1", linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.02), xlabel="sensitivity (recall)")
    axes.set_ylabel("positive predictive value (precision)")


def _draw_reliability(axes: Axes, models: Sequence[PanelModel]) -> None:
    axes.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=0.8, linestyle=(0, (2, 3)))
    for model in models:
        curve = trace_reliability(model.predictions)
        axes.plot(curve.predicted, curve.observed, "o-", color=model.color, lw=1.2, ms=3.5)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_xlabel("predicted risk, tenths of the images")
    axes.set_ylabel("observed share of positives")


def _draw_net_benefit(axes: Axes, models: Sequence[PanelModel]) -> None:
    prevalence = float(models[0].predictions.labels.mean())
    thresholds, _, everybody = trace_net_benefit(models[0].predictions).T
    for model in models:
        benefit = trace_net_benefit(model.predictions)[:, 1]
        axes.plot(thresholds, benefit, color=model.color, linewidth=1.6)
    axes.plot(thresholds, everybody, color="#9aa5b1", linewidth=1.0)
    axes.axhline(0, color="#9aa5b1", linewidth=0.8)
    axes.annotate("treat all", (thresholds[2], everybody[2]), fontsize=8, color="#52606d")
    axes.annotate("treat none", (0.02, 0), fontsize=8, color="#52606d", va="top")
    axes.set(xlim=(0, 1), ylim=(-0.12 * prevalence, 1.1 * prevalence))
    axes.set_xlabel("threshold probability")
    axes.set_ylabel("net benefit")
