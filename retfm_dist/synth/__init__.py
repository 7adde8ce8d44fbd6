"""Draw retinas: synthetic fundus cohorts with known truth, for the demo, tests and benchmarks.

- `streams`: random numbers keyed by (seed, patient, eye, purpose)
- `sites`, `cohort`: two sites with their cameras; patients and their diseases
- `effects`: planted effects: how visible a disease is, and for whom
- `anatomy`, `vessel_tree`: values that describe an eye and its picture
- `field`, `stamp`, `upsample`, `draw_*`: rendering, from background to camera
- `encode`, `write`: files and table, all or nothing
"""

from retfm_dist.synth.effects import VisibilityRule, parse_rule
from retfm_dist.synth.write import CohortSpec, write_cohort, write_spec

__all__ = ["CohortSpec", "VisibilityRule", "parse_rule", "write_cohort", "write_spec"]
