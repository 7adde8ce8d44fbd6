"""Composition of a set: images and patients by age band, sex, ethnicity, device, eye and site."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retfm_dist.cohort.records import ImageRecord

AGE_BANDS = ("<40", "40-49", "50-59", "60-69", "70-79", ">=80")
MISSING = "missing"
GROUPINGS = ("age_band", "sex", "ethnicity", "device", "eye", "site")


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


def group_of(record: ImageRecord, grouping: str) -> str:
    """Return the group that an image belongs to under one of `GROUPINGS`; "missing" if unknown."""
    if grouping == "age_band":
        return age_band(record.age)
    return getattr(record, grouping) or MISSING


def count_groups(records: Iterable[ImageRecord], groupings: Sequence[str]) -> list[GroupCount]:
    """Count images and patients in every combination of the groupings that occurs, sorted."""
    num_images: dict[tuple[str, ...], int] = defaultdict(int)
    patients: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for record in records:
        group = tuple(group_of(record, grouping) for grouping in groupings)
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
            {"group": count.group[0], **_sizes(count)} for count in count_groups(records, [name])
        ]
        for name in GROUPINGS
    }
    joint = count_groups(records, ["age_band", "sex"])
    return {
        "num_images": len(records),
        "num_patients": len({record.patient_id for record in records}),
        "by": by,
        "age_by_sex": [
            {"age_band": count.group[0], "sex": count.group[1], **_sizes(count)} for count in joint
        ],
    }


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
