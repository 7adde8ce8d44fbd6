"""The model card of an export: what is known from the run, and nothing else."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from retfm_dist.cohort.composition import MISSING
from retfm_dist.cohort.disclosure import SMALLEST_CELL, printable_groups
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
    groups = _cohort_rows(cohort) if cohort else []
    return environment.get_template("model_card.md.j2").render(
        config=config, facts=facts, cohort=cohort, groups=groups, smallest_cell=SMALLEST_CELL
    )


def _cohort_rows(cohort: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row per group of every attribute that is known for some patient."""
    return [
        row
        for attribute, groups in cohort.get("by", {}).items()
        if {group["group"] for group in groups} != {MISSING}
        for row in printable_groups(attribute, groups)
    ]
