"""Print the JSON schema of a pre-training config, for editors.

Example: python -m retfm_dist.config > configs/pretrain.schema.json
"""

import sys

from retfm_dist.config.json_schema import json_schema
from retfm_dist.config.schema import PretrainConfig

if __name__ == "__main__":
    sys.stdout.write(json_schema(PretrainConfig))
