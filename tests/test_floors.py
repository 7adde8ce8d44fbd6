"""Imports go down only, and each heavy library has one door."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "retfm_dist"

FLOORS = {
    "errors": 0, "durable": 0, "directories": 0, "locks": 0, "console": 0, "rng": 0, "ranks": 0, "statistics": 0, "versions": 0, "weights": 0,
    "worker_process": 0, "workers": 0, "object_store": 0, "host_memory": 0, "disk_tensors": 0,
    "config": 1, "tracking": 1,
    "cohort": 2, "image": 2, "model": 2, "synth": 2,
    "shard": 3,
    "data": 4,
    "train": 5,
    "doctor": 6, "export": 6,
    "evaluate": 7,
    "study": 8,
}  # fmt: skip
MAIN_FLOOR = 9
# Packages of one floor that may use another of the same floor; within this table there is no cycle.
SIDEWAYS = {
    ("ranks", "errors"), ("ranks", "durable"), ("directories", "durable"), ("directories", "errors"), ("directories", "locks"), ("locks", "errors"),
    ("console", "errors"), ("rng", "errors"),
    ("workers", "errors"), ("workers", "worker_process"), ("disk_tensors", "errors"), ("object_store", "errors"), ("weights", "errors"),
    ("synth", "cohort"), ("synth", "image"),
}  # fmt: skip
# A floor's parts that a higher package may not reach for, although they lie below it.
FORBIDDEN = {
    ("train", "cohort"), ("train", "image"), ("train", "model"), ("train", "shard"), ("train", "data"),
    ("data", "cohort"), ("data", "image"), ("data", "model"),
    ("shard", "model"),
    ("evaluate", "shard"), ("evaluate", "data"), ("evaluate", "train"),
    ("export", "shard"), ("export", "data"),
}  # fmt: skip
ONE_DOOR = ("deepspeed", "nvidia.dali", "mlflow", "yaml", "ray", "pydicom")


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    parts = {name.split(".")[1] for name in imported_names(path) if name.startswith("retfm_dist.")}
    return {
        part for part in parts if (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()
    }


def violation(importer: str, imported: str, *, is_main: bool = False) -> bool:
    """Whether `importer` may not import `imported`."""
    if importer == imported or is_main:
        return False
    if (importer, imported) in FORBIDDEN or imported == "synth":
        return True
    if FLOORS[importer] == FLOORS[imported]:
        return (importer, imported) not in SIDEWAYS
    return FLOORS[importer] < FLOORS[imported]


def test_every_part_has_a_floor():
    parts = {part_of(path) for path in source_files()} - {"__init__"}
    assert parts <= set(FLOORS), f"give {parts - set(FLOORS)} a floor"


def test_imports_go_down_only():
    wrong = [
        f"{path.relative_to(ROOT)} imports retfm_dist.{imported}"
        for path in source_files()
        if path.parent != PACKAGE or path.name != "__init__.py"
        for imported in parts_imported(path)
        if violation(part_of(path), imported, is_main=path.name == "__main__.py")
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("errors", "config"),
        ("train", "data"),
        ("data", "train"),
        ("image", "model"),
        ("shard", "synth"),
    ],
)
def test_the_rule_refuses_what_it_should(importer, imported):
    assert violation(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"), [("train", "rng"), ("data", "shard"), ("export", "train")]
)
def test_the_rule_allows_what_it_should(importer, imported):
    assert not violation(importer, imported)


@pytest.mark.parametrize("library", ONE_DOOR)
def test_each_heavy_library_is_imported_in_one_module(library):
    doors = [
        str(path.relative_to(ROOT))
        for path in source_files()
        if any(name == library or name.startswith(library + ".") for name in imported_names(path))
    ]
    assert len(doors) <= 1, doors


def test_importing_the_package_is_quick_and_light():
    code = (
        "import sys, time; begun = time.perf_counter(); import retfm_dist; "
        "print(time.perf_counter() - begun, *sorted(sys.modules))"
    )
    seconds, *modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(seconds) < 0.3
    assert not {"torch", "numpy", "pydantic", *ONE_DOOR} & set(modules)


def test_files_and_entry_scripts_stay_small():
    long_files = [str(path) for path in source_files() if len(path.read_text().splitlines()) > 400]
    assert not long_files
    for script in (ROOT / "launch").glob("*.py"):
        assert len(script.read_text().splitlines()) <= 80, script
