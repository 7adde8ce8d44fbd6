"""The result in sentences that say no more than the tests support."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.judge.compare import claim_of
from retfm_dist.evaluate.judge.titles import metric_title
from retfm_dist.evaluate.report.compute import PairResult

_MOST_SENTENCES = 4
_DECISIVE = ("superior", "equivalent", "inferior")
VERDICTS = (*_DECISIVE, "inconclusive", "insufficient")


def summarize(
    pairs: Sequence[PairResult], config: EvaluateConfig, titles: Mapping[str, str]
) -> list[str]:
    """Return the results of the comparisons with the first model, each verdict that is one in full.

    Where there are many, those that show nothing are counted and left to the table.

    Args:
        pairs: Comparisons.
        config: The evaluation.
        titles: Of the protocols, by id.
    """
    tasks = {task.id: task.title for task in config.tasks}
    shown = pairs
    counted = []
    if len(pairs) > _MOST_SENTENCES:
        shown = [pair for pair in pairs if pair.verdict in _DECISIVE]
        counts = Counter(pair.verdict for pair in pairs)
        listed = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name])
        counted = [f"{pairs[0].model_a} in {len(pairs)} comparisons: {listed}."]
    return counted + [_sentence(pair, tasks, titles, margin=config.margin) for pair in shown]


def _sentence(
    pair: PairResult, tasks: Mapping[str, str], titles: Mapping[str, str], *, margin: float
) -> str:
    phrase = claim_of(pair.verdict, pair.model_a, pair.model_b, margin=margin)
    interval = pair.comparison.test.interval
    numbers = ""
    if interval.low is not None and interval.high is not None:
        numbers = (
            f" (difference of {metric_title(pair.comparison.metric)} "
            f"{pair.comparison.test.value:+.3f}, {interval.low:+.3f} to {interval.high:+.3f})"
        )
    return f"{tasks[pair.task]}, {titles[pair.protocol]}: {phrase}{numbers}."


def copy_warnings(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a reader has to know about copies within the tasks and about their patients.

    Args:
        samples: Content of samples.json.
    """
    warnings = []
    for task in samples:
        title, alike = repr(task["title"]), task["alike"]
        if alike["across_sets"]:
            warnings.append(
                f"{alike['across_sets']} validation or test images of {title} look like images of "
                "the train set: results on them may be too good."
            )
        elif alike["across_patients"]:
            warnings.append(
                f"{alike['across_patients']} images of {title} look like an image of another "
                "patient, as copies do. Their patients were kept in one fold together; are they "
                "one patient under two numbers?"
            )
        if not task["patients_are_known"]:
            warnings.append(
                f"The patients of {title} are not known: each image counts as one, so that two "
                "eyes of a person may be in two sets and the intervals are too short."
            )
    return warnings


def overlap_warnings(facts: Sequence[Mapping[str, Any]], config: EvaluateConfig) -> list[str]:
    """Return what a reader has to know about what the models had seen before, most serious first.

    Args:
        facts: Content of overlap.json.
        config: The evaluation.
    """
    titles = {task.id: task.title for task in config.tasks}
    seen: dict[str, list[str]] = {}
    unknown, notes = [], []
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
                where = f"{titles[fact['task']]!r} ({', '.join(parts)})"
                seen.setdefault(str(fact["model"]), []).append(where)
            if fact["patients"] != "compared":
                notes.append(f"{fact['model']}: patients {fact['patients']}.")
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        notes.append(f"What {names} was pre-trained on is unknown: these images may be among it.")
    warnings = [
        f"{model} was pre-trained on images of {', '.join(places)}: its results on them may be too "
        "good."
        for model, places in seen.items()
    ]
    return [*warnings, *dict.fromkeys(notes)]
