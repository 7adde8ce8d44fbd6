"""Suppression of small groups in printed counts, so that nobody can be singled out."""

from collections.abc import Mapping, Sequence
from typing import Any

SMALLEST_CELL = 10
"""Patients; smaller groups are hidden in what leaves the hospital."""


def hidden_cells(num_patients: Sequence[int]) -> list[bool]:
    """Choose the groups to hide, so that no small one can be computed from the others.

    Beside the small groups, the next larger ones are hidden until at least two are, and together
    hold at least `SMALLEST_CELL`: the total minus the groups shown then tells none of them.

    Args:
        num_patients: Patients in each group.

    Source: complementary cell suppression; Hundepool et al. 2012, "Statistical Disclosure
        Control", chapter 4.
    """
    return _hide(num_patients, [num_patients], [False] * len(num_patients))


def hidden_outcomes(
    num_positive: Sequence[int], num_negative: Sequence[int], hidden: Sequence[bool]
) -> list[bool]:
    """Choose the groups whose division into outcomes is hidden, in the same manner.

    A group with few negative patients tells about them as one with few positive patients does, so
    the hidden groups together hold enough of both.

    Args:
        num_positive: Positive patients in each group.
        num_negative: Negative patients in each group.
        hidden: Groups whose size is hidden already.
    """
    sizes = [min(pair) for pair in zip(num_positive, num_negative, strict=True)]
    return _hide(sizes, [num_positive, num_negative], hidden)


def _hide(
    sizes: Sequence[int], counted: Sequence[Sequence[int]], hidden: Sequence[bool]
) -> list[bool]:
    """Hide what is smaller than `SMALLEST_CELL`, and more until every count is safe together."""
    chosen = [hide or size < SMALLEST_CELL for size, hide in zip(sizes, hidden, strict=True)]
    if not any(chosen):
        return chosen
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        together = [
            sum(count for count, hide in zip(counts, chosen, strict=True) if hide)
            for counts in counted
        ]
        if sum(chosen) >= 2 and min(together) >= SMALLEST_CELL:
            break
        chosen[i] = True
    return chosen


def cell_text(count: int, *, is_hidden: bool) -> str:
    """Return a count as text; a hidden one as "-", whether it is small or hides a small one.

    To tell the two apart would give counts away: two groups below 10 that together hold 18 patients
    have nine each.
    """
    return "-" if is_hidden else f"{count:,}"


def printable_groups(attribute: str, groups: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the groups of one attribute as text, with small ones hidden.

    Args:
        attribute: What the groups differ in, such as "age_band".
        groups: A partition of the patients: "group", "num_images", "num_patients" and, where
            classes are counted, "num_positive_patients".

    Returns:
        The same keys and "attribute", with counts as text.
    """
    hidden = hidden_cells([group["num_patients"] for group in groups])
    positive = [group.get("num_positive_patients", 0) for group in groups]
    negative = [
        group["num_patients"] - count for group, count in zip(groups, positive, strict=True)
    ]
    divided = hidden_outcomes(positive, negative, hidden)
    rows = []
    for group, is_hidden, is_divided in zip(groups, hidden, divided, strict=True):
        row = {
            "attribute": attribute.replace("_", " "),
            "group": str(group["group"]),
            "num_images": "-" if is_hidden else f"{group['num_images']:,}",
            "num_patients": cell_text(group["num_patients"], is_hidden=is_hidden),
        }
        if "num_positive_patients" in group:
            row["num_positive_patients"] = cell_text(
                group["num_positive_patients"], is_hidden=is_divided
            )
        rows.append(row)
    return rows
