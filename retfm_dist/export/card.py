"""The model card of an export: what is known from the run, and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from retfm_dist.cohort.composition import MISSING
from retfm_dist.cohort.disclosure import SMALLEST_CELL, printable_groups
from retfm_dist.config.schema import PretrainConfig


def render_card(
    config: PretrainConfig, facts: Mapping[str, Any], *, cohort: Sequence[Mapping[str, Any]]
) -> str:
    """Return the model card in Markdown.

    Args:
        config: The run.
        facts: `describe_training` of the run.
        cohort: {"share", "composition"} of each set of training images: the share of the images
            seen, and `cohort.composition.describe_composition` or None; empty where nothing is
            known.
    """
    environment = Environment(
        loader=PackageLoader("retfm_dist.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        keep_trailing_newline=True,
    )
    sets = [{**item, "rows": _cohort_rows(item["composition"] or {})} for item in cohort]
    return environment.get_template("model_card.md.j2").render(
        config=config, facts=facts, sets=sets, smallest_cell=SMALLEST_CELL
    )


def _cohort_rows(cohort: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row per group of every attribute that is known for some patient."""
    return [
        row
        for attribute, groups in cohort.get("by", {}).items()
        if {group["group"] for group in groups} != {MISSING}
        for row in printable_groups(attribute, groups)
    ]
