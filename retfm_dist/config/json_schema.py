"""The JSON schema that gives editors completion and checks in config files.

A config file names it in its first line:
`# yaml-language-server: $schema=pretrain.schema.json`.
"""

import json

from pydantic import BaseModel


def json_schema(schema: type[BaseModel]) -> str:
    """Return the JSON schema text of a config model, with the fields' descriptions."""
    return json.dumps(schema.model_json_schema(), indent=2, sort_keys=True) + "\n"
