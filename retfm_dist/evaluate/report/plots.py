"""The figures of a task: for every protocol ROC curves and the other curves, by class."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from retfm_dist.evaluate.config import EvaluateConfig, TaskConfig
from retfm_dist.evaluate.judge.curves import against_rest, trace_roc
from retfm_dist.evaluate.judge.measure import Scored
from retfm_dist.evaluate.report.compute import Result
from retfm_dist.evaluate.report.figures import NamedCurve, draw_roc
from retfm_dist.evaluate.report.panels import PanelModel, draw_panels
from retfm_dist.statistics.bootstrap import seed_for


def draw_figures(
    task: TaskConfig,
    config: EvaluateConfig,
    titles: Mapping[str, str],
    results: Sequence[Result],
) -> Iterator[dict[str, Any]]:
    """Yield two figures per protocol: ROC with a panel for each model, and the other curves.

    Of more than two classes, two for each class against the rest.
    """
    names = list(task.label.values)
    for protocol, title in titles.items():
        shown = [item for item in results if item.key[1:] == (task.id, protocol)]
        if len(names) == 2:
            yield from _draw(task, config, shown, 1, title, prefix=f"{task.id}-{protocol}")
            continue
        labels = shown[0].predictions.labels
        for label, name in enumerate(names):
            if 0 < (labels == label).sum() < len(labels):
                words = f"{title}, {name} against the rest"
                prefix = f"{task.id}-{protocol}-{label}"
                yield from _draw(task, config, shown, label, words, prefix=prefix)


def _draw(
    task: TaskConfig,
    config: EvaluateConfig,
    results: Sequence[Result],
    label: int,
    title: str,
    *,
    prefix: str,
) -> Iterator[dict[str, Any]]:
    items = [against_rest(result.predictions, label) for result in results]
    curves = []
    for slot, (result, item) in enumerate(zip(results, items, strict=True)):
        binary = result.predictions.num_classes == 2
        scored = result.scored["auroc" if binary else f"auroc_{label}"]
        curves.append(
            NamedCurve(
                label=result.predictions.model,
                note=_interval_text(scored),
                slot=slot,
                curve=trace_roc(
                    item,
                    num_resamples=config.bootstrap.num_resamples,
                    seed=seed_for(config.seed, task.id, "auroc"),
                    alpha=config.bootstrap.alpha,
                    has_band=scored.interval.low is not None,
                ),
            )
        )
    svg = draw_roc(curves, title=f"ROC curves: {task.title}, {title}", prefix=prefix)
    yield {"title": title, "svg": Markup(svg)}
    models = [PanelModel(item, slot) for slot, item in enumerate(items)]
    words = f"Precision-recall, reliability and decision curves: {task.title}, {title}"
    svg = draw_panels(models, title=words, prefix=f"{prefix}-more")
    yield {
        "title": f"{title}: precision and recall, calibration, net benefit",
        "svg": Markup(svg),
    }


def _interval_text(scored: Scored) -> str:
    low, high = scored.interval.low, scored.interval.high
    if low is None or high is None:
        return f"{scored.value:.2f}"
    return f"{scored.value:.2f} ({low:.2f}-{high:.2f})"
