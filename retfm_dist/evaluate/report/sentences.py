"""The result in sentences that say no more than the tests support."""

from collections.abc import Mapping, Sequence
from typing import Any

from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.judge.compare import claim_of
from retfm_dist.evaluate.report.compute import PairResult


def summarize(
    pairs: Sequence[PairResult], config: EvaluateConfig, titles: Mapping[str, str]
) -> list[str]:
    """Return one sentence for each comparison with the first model.

    Args:
        pairs: Comparisons.
        config: The evaluation.
        titles: Of the protocols, by id.
    """
    tasks = {task.id: task.title for task in config.tasks}
    return [_sentence(pair, tasks, titles, margin=config.margin) for pair in pairs]


def _sentence(
    pair: PairResult, tasks: Mapping[str, str], titles: Mapping[str, str], *, margin: float
) -> str:
    phrase = claim_of(pair.verdict, pair.model_a, pair.model_b, margin=margin)
    interval = pair.comparison.test.interval
    numbers = ""
    if interval.low is not None and interval.high is not None:
        numbers = (
            f" (difference of AUROC {pair.comparison.test.value:+.3f}, "
            f"{interval.low:+.3f} to {interval.high:+.3f})"
        )
    return f"{tasks[pair.task]}, {titles[pair.protocol]}: {phrase}{numbers}."


def overlap_warnings(facts: Sequence[Mapping[str, Any]], config: EvaluateConfig) -> list[str]:
    """Return what a reader has to know about what the models had seen before, most serious first.

    Args:
        facts: Content of overlap.json.
        config: The evaluation.
    """
    titles = {task.id: task.title for task in config.tasks}
    seen, unknown, notes = [], [], []
    for fact in facts:
        if fact["provenance"] == "unknown":
            unknown.append(str(fact["model"]))
        elif fact["provenance"] == "known":
            counts = {
                "the same file": fact["image"],
                "a likely copy": fact["copy"],
                "of a patient it has seen": fact["patient"],
            }
            parts = [f"{count} {what}" for what, count in counts.items() if count]
            if parts:
                seen.append(
                    f"{fact['model']} was pre-trained on images of {titles[fact['task']]!r} "
                    f"({', '.join(parts)}): its results on them may be too good."
                )
            if fact["patients"] != "compared":
                notes.append(f"{fact['model']}: patients {fact['patients']}.")
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        notes.append(f"What {names} was pre-trained on is unknown: these images may be among it.")
    return [*seen, *dict.fromkeys(notes)]
