"""The model card of an export: what is known from the run, and nothing else."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from retfm_dist.cohort.composition import SMALLEST_CELL, cell_text, hidden_cells
from retfm_dist.config.schema import PretrainConfig


def render_card(
    config: PretrainConfig, facts: Mapping[str, Any], *, cohort: Mapping[str, Any] | None
) -> str:
    """Return the model card in Markdown.

    Args:
        config: The run.
        facts: `describe_training` of the run.
        cohort: Composition of the training images (`cohort.composition.describe_composition`);
            None where it is not known.
    """
    environment = Environment(
        loader=PackageLoader("retfm_dist.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        keep_trailing_newline=True,
    )
    groups = list(_cohort_rows(cohort)) if cohort else []
    return environment.get_template("model_card.md.j2").render(
        config=config, facts=facts, cohort=cohort, groups=groups, smallest_cell=SMALLEST_CELL
    )


def _cohort_rows(cohort: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row per group of every attribute that is known for some patient."""
    rows = []
    for attribute, groups in cohort.get("by", {}).items():
        if {group["group"] for group in groups} == {"missing"}:
            continue
        hidden = hidden_cells([group["num_patients"] for group in groups])
        for group, is_hidden in zip(groups, hidden, strict=True):
            rows.append(
                {
                    "attribute": attribute.replace("_", " "),
                    "group": group["group"],
                    "num_images": "-" if is_hidden else f"{group['num_images']:,}",
                    "num_patients": cell_text(group["num_patients"], is_hidden=is_hidden),
                }
            )
    return rows
