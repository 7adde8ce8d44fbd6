"""Reporting checklists, each item marked as automatic, partial or human.

An item that an evaluation cannot answer is for a human: no prose is made up for it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from retfm_dist.config.yaml_text import parse_yaml
from retfm_dist.evaluate.config import EvaluateConfig
from retfm_dist.evaluate.judge.tables import markdown_row, markdown_text
from retfm_dist.evaluate.report.compute import Result

MARKS = ("automatic", "partial", "human")
_MISSING = {
    "attributes": "the table states no age, sex, ethnicity, device or site",
    "thresholds": "there is no validation set to choose thresholds on",
    "provenance": "no model states what it was pre-trained on",
    "pictures": "example photographs were not asked for",
}
"""What an evaluation may lack, and how that is said."""
_DEMOGRAPHIC = ("age_band", "sex", "ethnicity", "device", "site")


@dataclass(frozen=True)
class Item:
    """An item of a checklist.

    Attributes:
        number: In the guideline.
        topic: In our words.
        mark: One of MARKS.
        where: Files that answer it, or why it is left to a human.
    """

    number: str
    topic: str
    mark: str
    where: str


@dataclass(frozen=True)
class Checklist:
    """A guideline's checklist for one evaluation.

    Attributes:
        id: Stem of its file.
        title: Name of the guideline.
        source: Its publication.
        items: Its items, in order.
    """

    id: str
    title: str
    source: str
    items: tuple[Item, ...]

    def count(self) -> dict[str, int]:
        """Return the number of items by mark."""
        counts = Counter(item.mark for item in self.items)
        return {mark: counts[mark] for mark in MARKS}

    def markdown(self) -> str:
        """Return the checklist in Markdown."""
        counts = ", ".join(f"{count} {mark}" for mark, count in self.count().items())
        lines = [
            f"# {markdown_text(self.title)}",
            "",
            f"{markdown_text(self.source)}. {counts}. The guideline's own wording is binding.",
            "",
            "| item | topic | answered by | where |",
            "|---|---|---|---|",
        ]
        rows = [(item.number, item.topic, item.mark, item.where) for item in self.items]
        return "\n".join([*lines, *map(markdown_row, rows), ""])


def fill_checklists(
    config: EvaluateConfig, facts: Mapping[str, Any], results: Sequence[Result]
) -> list[Checklist]:
    """Return the checklists with each item marked for this evaluation.

    Args:
        config: The evaluation.
        facts: Content of its JSON files, by name.
        results: Its results.
    """
    groups = [group for task in facts["samples"] for group in task["subgroups"]]
    present = {
        "attributes": any(group["attribute"] in _DEMOGRAPHIC for group in groups),
        "thresholds": any(result.thresholds for result in results),
        "provenance": any(fact["provenance"] == "known" for fact in facts["overlap"]),
        "pictures": config.report.pictures,
    }
    return [
        Checklist(
            entry["id"],
            entry["title"],
            entry["source"],
            tuple(_item(present, *values) for values in entry["items"]),
        )
        for entry in _entries()
    ]


def _item(
    present: Mapping[str, bool],
    number: str,
    topic: str,
    mark: str,
    where: str = "",
    needs: str = "",
) -> Item:
    if needs and not present[needs]:
        return Item(number, topic, "human", f"not here: {_MISSING[needs]}")
    return Item(number, topic, mark, where)


@lru_cache(maxsize=1)
def _entries() -> list[dict[str, Any]]:
    source = files("retfm_dist.evaluate.report") / "checklists.yaml"
    entries: list[dict[str, Any]] = parse_yaml(source.read_text("utf-8"), where="checklists.yaml")
    return entries
