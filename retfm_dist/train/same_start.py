"""Whether all ranks start the same run: config, images, lengths and versions.

A stale copy of the shards or of an installed package on one host would train on with the others, or
wait for ever where it has fewer steps.
"""

from collections import Counter
from typing import Any

from retfm_dist.config import PretrainConfig
from retfm_dist.config.load import config_hash
from retfm_dist.errors import TrainError
from retfm_dist.ranks.agreement import from_each
from retfm_dist.train.environment import COMPUTE_LIBRARIES
from retfm_dist.train.interfaces import Loader
from retfm_dist.train.schedule import Plan
from retfm_dist.versions import software_versions

_MOST_SHOWN = 400


def check_same_start(config: PretrainConfig, loader: Loader, plan: Plan) -> None:
    """Refuse to start ranks that would not train together; all ranks call this.

    Args:
        config: The run.
        loader: Its data path.
        plan: Its lengths.

    Raises:
        TrainError: A rank has something else than most; it is named, with what both have.
    """
    facts = {
        "config": config_hash(config),
        "images": str(loader.state()),
        "steps per epoch": plan.steps_per_epoch,
        "steps": plan.total_steps,
        **software_versions(*COMPUTE_LIBRARIES),
    }
    compare_facts(from_each(facts))


def compare_facts(of_each: list[dict[str, Any]]) -> None:
    """Refuse facts that differ from rank to rank.

    Args:
        of_each: Facts by name, of each rank in order.

    Raises:
        TrainError: They differ; the first fact that does is told.
    """
    for name in dict.fromkeys(name for facts in of_each for name in facts):
        values = [facts.get(name) for facts in of_each]
        common, _ = Counter(values).most_common(1)[0]
        others = [rank for rank, value in enumerate(values) if value != common]
        if others:
            raise TrainError(
                f"the ranks do not start the same run: {name} differs",
                where=f"rank {', '.join(map(str, others))}",
                got=_shown(values[others[0]]),
                expected=f"{_shown(common)}, as the other ranks have",
                hint="give every host the same config, shard set and installation",
            )


def _shown(value: Any) -> str:
    """Return a value as text, cut where it lists much, such as images left out."""
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
