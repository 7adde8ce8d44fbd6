"""The rooms of the package: their size, their direction, and the tests that mirror them."""

import re
from pathlib import Path

import pytest

from tests.test_floors import PACKAGE, imported_names, source_files

TESTS = Path(__file__).parent

# Rooms inside a package, and what of their own package they may use.
INNER = {
    "evaluate.encode": {"evaluate.config"},
    "evaluate.report": {
        "evaluate.config", "evaluate.encode", "evaluate.judge", "evaluate.overlap",
        "evaluate.predictions", "evaluate.protocols", "evaluate.samples",
    },
    "evaluate.judge": {"evaluate.predictions"},
    "shard.packing": {"shard.plan"},
    "synth.draw": {"synth.anatomy", "synth.cohort", "synth.sites", "synth.streams", "synth.vessel_tree"},
    "train.checkpoint": {"train.run_dir"},
    "train.engine": {"train.checkpoint.layout"},
}  # fmt: skip
# Declarations without behavior of their own.
WITHOUT_TEST = {"train/interfaces"}


def modules() -> list[Path]:
    return [path for path in source_files() if not path.name.startswith("__")]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_every_module_has_a_test_that_mirrors_it(path):
    place = path.relative_to(PACKAGE)
    mirror = TESTS / place.parent / f"test_{place.name}"
    assert mirror.is_file() or str(place.with_suffix("")) in WITHOUT_TEST, mirror


@pytest.mark.parametrize("room", INNER)
def test_inner_rooms_use_only_what_lies_below_them(room):
    package = room.partition(".")[0]
    folder = PACKAGE / room.replace(".", "/")
    assert list(folder.glob("*.py"))
    for path in folder.glob("*.py"):
        own = {name.removeprefix("retfm_dist.") for name in imported_names(path)}
        for name in own:
            if name.startswith(f"{package}.") and not name.startswith(room):
                assert any(name.startswith(part) for part in INNER[room]), f"{dotted(path)}: {name}"


def test_statistics_need_numpy_and_scipy_alone():
    allowed = re.compile(
        r"numpy|scipy|retfm_dist\.(statistics|errors)|hashlib|collections|dataclasses|math|typing"
    )
    for path in (PACKAGE / "statistics").glob("*.py"):
        assert all(allowed.match(name) for name in imported_names(path)), path


def test_no_room_holds_more_than_15_percent_of_the_lines():
    sizes: dict[Path, int] = {}
    for path in source_files():
        room = path.parent
        sizes[room] = sizes.get(room, 0) + len(path.read_text().splitlines())
    largest = max(sizes, key=lambda room: sizes[room])
    assert sizes[largest] <= 0.15 * sum(sizes.values()), largest


def test_no_module_imports_itself_in_a_circle():
    graph = {f"retfm_dist.{dotted(path)}": set(imported_names(path)) for path in modules()}
    graph = {name: targets & graph.keys() - {name} for name, targets in graph.items()}
    while graph:
        leaves = {name for name, targets in graph.items() if not targets}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: targets - leaves for name, targets in graph.items() if name not in leaves}
