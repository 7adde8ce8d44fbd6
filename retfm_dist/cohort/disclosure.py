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
    hidden = [count < SMALLEST_CELL for count in num_patients]
    if not any(hidden):
        return hidden
    for i in sorted(range(len(num_patients)), key=lambda i: num_patients[i]):
        together = sum(count for count, hide in zip(num_patients, hidden, strict=True) if hide)
        if sum(hidden) >= 2 and together >= SMALLEST_CELL:
            break
        hidden[i] = True
    return hidden


def cell_text(count: int, *, is_hidden: bool) -> str:
    """Return a count as text; a hidden one as "< 10" if it is small, else as "-"."""
    if is_hidden:
        return f"< {SMALLEST_CELL}" if count < SMALLEST_CELL else "-"
    return f"{count:,}"


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
    few_positive = hidden_cells([group.get("num_positive_patients", 0) for group in groups])
    rows = []
    for group, is_hidden, are_few in zip(groups, hidden, few_positive, strict=True):
        row = {
            "attribute": attribute.replace("_", " "),
            "group": str(group["group"]),
            "num_images": "-" if is_hidden else f"{group['num_images']:,}",
            "num_patients": cell_text(group["num_patients"], is_hidden=is_hidden),
        }
        if "num_positive_patients" in group:
            # A shown group with nearly all of its patients positive tells about the others.
            rest = group["num_patients"] - group["num_positive_patients"]
            row["num_positive_patients"] = cell_text(
                group["num_positive_patients"],
                is_hidden=is_hidden or are_few or rest < SMALLEST_CELL,
            )
        rows.append(row)
    return rows
