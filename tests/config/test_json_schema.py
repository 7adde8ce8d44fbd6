import json
from pathlib import Path

from retfm_dist.config.json_schema import json_schema
from retfm_dist.config.schema import PretrainConfig

CURRENT = Path(__file__).parents[2] / "configs" / "pretrain.schema.json"


def test_it_is_json_with_the_fields_and_their_descriptions():
    schema = json.loads(json_schema(PretrainConfig))
    assert schema["required"] == [
        "run", "data", "model", "optimizer", "schedule", "engine", "checkpoint", "log",
    ]  # fmt: skip
    field = schema["$defs"]["OptimizerConfig"]["properties"]["weight_decay"]
    assert "MAE: 0.05" in field["description"]


def test_the_shipped_schema_is_current():
    assert CURRENT.read_text() == json_schema(PretrainConfig), "run make schema"
