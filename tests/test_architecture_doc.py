"""docs/architecture.md says what the code does."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from tests.test_floors import FLOORS

TEXT = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
CONTRACTS = re.findall(r"^    ([a-z_.]+[A-Za-z_.]*)\(([^)]*)\)", TEXT, re.MULTILINE)


def test_the_table_of_floors_is_that_of_the_test():
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", TEXT, re.MULTILINE)
    assert {name: int(floor) for floor, name in rows} == {
        name: floor for name, floor in FLOORS.items() if name != "study"
    }


def test_there_are_contracts():
    assert len(CONTRACTS) > 30


@pytest.mark.parametrize(("name", "parameters"), CONTRACTS, ids=[name for name, _ in CONTRACTS])
def test_a_contract_is_that_of_the_code(name, parameters):
    found = find(f"retfm_dist.{name}")
    names = [parameter for parameter in inspect.signature(found).parameters if parameter != "self"]
    assert names == [word.strip() for word in parameters.split(",") if word.strip()]


def find(dotted):
    parts = dotted.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            value = getattr(value, part)
        return value
    raise AssertionError(dotted)
