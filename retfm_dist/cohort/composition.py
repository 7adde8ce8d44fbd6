"""Who is in a set: images and patients by age band, sex, ethnicity, device, eye and site."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retfm_dist.cohort.records import ImageRecord

AGE_BANDS = ("<40", "40-49", "50-59", "60-69", "70-79", ">=80")
MISSING = "missing"
GROUPINGS = ("age_band", "sex", "ethnicity", "device", "eye", "site")
SMALLEST_CELL = 10
"""Patients; smaller groups are hidden in what leaves the hospital, lest one be singled out."""


@dataclass(frozen=True)
class GroupCount:
    """Size of one group.

    Attributes:
        group: Value of the grouping, or one value per grouping for joint tables.
        num_images: Images in the group.
        num_patients: Distinct patients with at least one image in the group.
    """

    group: tuple[str, ...]
    num_images: int
    num_patients: int


def age_band(age: float | None) -> str:
    """Return the ten-year band of an age in years."""
    if age is None:
        return MISSING
    index = min(max(int(age) // 10 - 3, 0), len(AGE_BANDS) - 1)
    return AGE_BANDS[index]


def count_groups(
    records: Iterable[ImageRecord], keys: Sequence[Callable[[ImageRecord], str]]
) -> list[GroupCount]:
    """Count images and patients in every combination of the keys that occurs, sorted."""
    num_images: dict[tuple[str, ...], int] = defaultdict(int)
    patients: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for record in records:
        group = tuple(key(record) for key in keys)
        num_images[group] += 1
        patients[group].add(record.patient_id)
    return [
        GroupCount(group, num_images[group], len(patients[group]))
        for group in sorted(num_images, key=group_order)
    ]


def describe_composition(records: Sequence[ImageRecord]) -> dict[str, Any]:
    """Return the composition tables as JSON values.

    Returns:
        {"num_images", "num_patients", "by": {grouping: [{"group", "num_images",
        "num_patients"}]}, "age_by_sex": [{"age_band", "sex", "num_images", "num_patients"}]}.
    """
    by = {
        name: [
            {"group": count.group[0], **_sizes(count)}
            for count in count_groups(records, [_KEYS[name]])
        ]
        for name in GROUPINGS
    }
    joint = count_groups(records, [_KEYS["age_band"], _KEYS["sex"]])
    return {
        "num_images": len(records),
        "num_patients": len({record.patient_id for record in records}),
        "by": by,
        "age_by_sex": [
            {"age_band": count.group[0], "sex": count.group[1], **_sizes(count)} for count in joint
        ],
    }


def hidden_cells(num_patients: Sequence[int]) -> list[bool]:
    """Say which groups of a partition to hide, so that no small one can be worked out.

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
    """Return a count as text; a hidden one tells at most that it is small."""
    if is_hidden:
        return f"< {SMALLEST_CELL}" if count < SMALLEST_CELL else "-"
    return f"{count:,}"


def render_markdown(composition: Mapping[str, Any]) -> str:
    """Render the tables of `describe_composition` as Markdown."""
    lines = [
        "# Cohort",
        "",
        f"{composition['num_images']} images of {composition['num_patients']} patients.",
    ]
    for name in GROUPINGS:
        rows = [
            (row["group"], row["num_images"], row["num_patients"])
            for row in composition["by"][name]
        ]
        lines += [
            "",
            f"## By {name.replace('_', ' ')}",
            "",
            *_table((name, "images", "patients"), rows),
        ]
    joint = [
        (row["age_band"], row["sex"], row["num_images"], row["num_patients"])
        for row in composition["age_by_sex"]
    ]
    lines += ["", "## Age by sex", "", *_table(("age_band", "sex", "images", "patients"), joint)]
    return "\n".join(lines) + "\n"


_KEYS: Mapping[str, Callable[[ImageRecord], str]] = {
    "age_band": lambda record: age_band(record.age),
    "sex": lambda record: record.sex or MISSING,
    "ethnicity": lambda record: record.ethnicity or MISSING,
    "device": lambda record: record.device or MISSING,
    "eye": lambda record: record.eye or MISSING,
    "site": lambda record: record.site or MISSING,
}


def group_order(group: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Sort age bands by age and everything else by name, missing values last."""
    ranks = {band: index for index, band in enumerate(AGE_BANDS)} | {MISSING: len(AGE_BANDS) + 1}
    return tuple((ranks.get(value, len(AGE_BANDS)), value) for value in group)


def _sizes(count: GroupCount) -> dict[str, int]:
    return {"num_images": count.num_images, "num_patients": count.num_patients}


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lay out a Markdown table; a bar inside a value would end its cell and is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return [
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    ]
