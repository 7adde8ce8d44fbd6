"""Every number of the report, computed from predictions/ alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.judge.compare import Comparison, compare_metrics
from retfm_dist.evaluate.judge.levels import aggregate
from retfm_dist.evaluate.judge.measure import (
    Scored,
    keep_images,
    rounded,
    score,
    scored_json,
)
from retfm_dist.evaluate.judge.splits import separate
from retfm_dist.evaluate.overlap import OVERLAP
from retfm_dist.evaluate.predictions import Predictions, predictions_path
from retfm_dist.evaluate.predictions_file import read_predictions
from retfm_dist.statistics.auroc import auroc_of_classes
from retfm_dist.statistics.multiplicity import adjust, holm
from retfm_dist.statistics.paired import Verdict, adjusted_verdict


@dataclass(frozen=True)
class Result:
    """One model on one task under one protocol.

    Attributes:
        predictions: Its predictions of the images it is judged on.
        primary: Name of the metric that models are compared by.
        scored: Metrics of the images, by name.
        by_patient: Metrics of patients, by name; empty where all patients are of one class.
        pooled: AUROC over all images, folds pooled, mean over repeats.
        thresholds: Operating points by name, chosen on validation images.
        unseen: Primary metric of the images that no model was pre-trained on, nor on their
            patients; None where that is all of them, or too few to tell.
    """

    predictions: Predictions
    primary: str
    scored: dict[str, Scored]
    by_patient: dict[str, Scored]
    pooled: float
    thresholds: dict[str, float] = field(default_factory=dict)
    unseen: Scored | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Model, task and protocol."""
        item = self.predictions
        return item.model, item.task, item.protocol


@dataclass(frozen=True)
class PairResult:
    """The first model of an evaluation against another one.

    Attributes:
        model_a: The first model.
        model_b: The other.
        task: Id of the task.
        protocol: Id of the protocol.
        comparison: Of the primary metric.
        p_holm: p value adjusted for all comparisons of the evaluation; None without a test.
        alpha: Level of the claims.
    """

    model_a: str
    model_b: str
    task: str
    protocol: str
    comparison: Comparison
    p_holm: float | None
    alpha: float

    @property
    def verdict(self) -> Verdict:
        """What may be claimed once the number of comparisons is counted."""
        return adjusted_verdict(self.comparison.test.verdict, self.p_holm, alpha=self.alpha)


def compute_results(
    out_dir: Path, config: EvaluateConfig, protocols: Sequence[str]
) -> list[Result]:
    """Read and score every combination, in the order task, model, protocol.

    Raises:
        EvaluateError: Predictions are missing or faulty.
    """
    results = []
    for task in config.tasks:
        for model in config.models:
            for protocol in protocols:
                names = {"model": model.id, "task": task.id, "protocol": protocol}
                predictions = read_predictions(predictions_path(out_dir, **names), expected=names)
                results.append(
                    _score(predictions, task.label.primary, alpha=config.bootstrap.alpha)
                )
    return _add_unseen(results, alpha=config.bootstrap.alpha)


def _add_unseen(results: Sequence[Result], *, alpha: float) -> list[Result]:
    """Score each task again without the images that any model was pre-trained on."""
    seen: dict[str, NDArray[np.bool_]] = {}
    for result in results:
        found = result.predictions.attributes.get(OVERLAP)
        if found is not None:
            mask = np.array([kind is not None for kind in found])
            task = result.predictions.task
            seen[task] = mask | seen.get(task, np.zeros(len(mask), bool))
    added = []
    for result in results:
        mask = seen.get(result.predictions.task)
        unseen = None
        if mask is not None and mask.any() and len(np.unique(result.predictions.labels[~mask])) > 1:
            unseen = score(keep_images(result.predictions, ~mask), alpha=alpha)[result.primary]
        added.append(replace(result, unseen=unseen))
    return added


def _score(predictions: Predictions, primary: str, *, alpha: float) -> Result:
    judged = separate(predictions)
    item = judged.predictions
    patients = aggregate(item, "patient")
    assert patients is not None
    has_classes = len(np.unique(patients.labels)) > 1
    return Result(
        item,
        primary,
        score(item, alpha=alpha, thresholds=judged.thresholds),
        score(patients, alpha=alpha) if has_classes else {},
        float(np.mean([auroc_of_classes(item.labels, rows) for rows in item.probabilities])),
        judged.thresholds,
    )


def compare_with_first(results: Sequence[Result], config: EvaluateConfig) -> list[PairResult]:
    """Compare the first model with every other one on every task under every protocol."""
    first = config.models[0].id
    found = {result.key: result for result in results}
    pairs: list[tuple[str, str, str, Comparison]] = []
    for result in results:
        model, task, protocol = result.key
        if model == first:
            continue
        compared = compare_metrics(
            found[first, task, protocol].predictions,
            result.predictions,
            margin=config.margin,
            alpha=config.bootstrap.alpha,
        )
        pairs.append((model, task, protocol, compared[result.primary]))
    adjusted = adjust([comparison.test.p for *_, comparison in pairs], holm)
    return [
        PairResult(
            first,
            model,
            task,
            protocol,
            comparison,
            p,
            config.bootstrap.alpha,
        )
        for (model, task, protocol, comparison), p in zip(pairs, adjusted, strict=True)
    ]


def metrics_json(results: Sequence[Result], pairs: Sequence[PairResult]) -> dict[str, Any]:
    """Return the content of metrics.json."""
    return {
        "schema": "retfm-metrics/3",
        "results": [
            {
                "model": result.predictions.model,
                "task": result.predictions.task,
                "protocol": result.predictions.protocol,
                "primary": result.primary,
                "thresholds": result.thresholds,
                "metrics": scored_json(result.scored, result.predictions),
                "by_patient": scored_json(result.by_patient, result.predictions),
                "auroc_pooled": rounded(result.pooled),
                "primary_unseen": None
                if result.unseen is None
                else {
                    "value": rounded(result.unseen.value),
                    "lo": rounded(result.unseen.interval.low),
                    "hi": rounded(result.unseen.interval.high),
                    "n_images": result.unseen.num_images,
                },
                "fits": list(result.predictions.fits),
            }
            for result in results
        ],
        "comparisons": [
            {
                "a": pair.model_a,
                "b": pair.model_b,
                "task": pair.task,
                "protocol": pair.protocol,
                "p_holm": rounded(pair.p_holm),
                "verdict": pair.verdict,
                "comparison": pair.comparison.as_json(),
            }
            for pair in pairs
        ],
    }
