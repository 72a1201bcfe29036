"""The layers of the package: imports go down, never back up, and no circle exists between modules.

Folders stand in the order of `architecture.LAYERS`; a module imports from its own folder and from earlier lines.
Imports inside functions count as well. The picture in docs/architecture.md is drawn from the same order.
"""

import ast
from pathlib import Path

import pytest
from architecture import LAYERS, PICTURE, draw

from harness.core.paths import REPOSITORY


def modules() -> dict[str, Path]:
    """Dotted name below `harness` to file."""
    root = REPOSITORY / "harness"
    found = {}
    for path in sorted(root.rglob("*.py")):
        found[".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Module to the modules of this package that it imports anywhere."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        mine = found.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "harness":
                base = node.module.removeprefix("harness").removeprefix(".")
                for alias in node.names:
                    full = f"{base}.{alias.name}".lstrip(".")
                    mine.add(full if full in known else base)
            elif isinstance(node, ast.Import):
                mine |= {
                    alias.name.removeprefix("harness.") for alias in node.names if alias.name.startswith("harness.")
                }
        mine -= {name, ""}
    return found


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_folder_has_a_layer():
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted(set(placed))
    assert {room(name) for name in modules() if name != "__init__"} <= set(placed)


def test_no_arrow_runs_back_up(imports):
    rank = {name: place for place, layer in enumerate(LAYERS) for name in layer}
    wrong = {
        (importer, imported)
        for importer, mine in imports.items()
        for imported in mine
        if room(importer) != room(imported) and importer != "__init__" and rank[room(importer)] <= rank[room(imported)]
    }
    assert not wrong


def test_no_circle_between_modules(imports):
    """A module stands in a circle when its imports, and theirs, lead back to it."""
    circles = {name for name in imports if name in reached(name, imports)}
    assert not circles


def reached(start: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = imports.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def test_the_picture_of_the_house_is_current():
    assert PICTURE.read_text(encoding="utf-8") == draw(), "stale: run `python tests/architecture.py`"


def test_no_two_test_modules_share_a_name():
    """Pytest imports them by their bare names, and the second of two would be an error of the whole run."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


PARTS_OF_A_ROOM = {"adapter", "base", "convert", "decoder", "network", "options", "pixel_decoder"}
"""Sibling rooms give these modules the same part to play, so they share the name."""


def test_no_two_modules_share_a_name():
    """A command's module is named after the command; any other name stands once."""
    seen: dict[str, list[str]] = {}
    for name in modules():
        if room(name) != "commands" and modules()[name].stem not in {*PARTS_OF_A_ROOM, "__init__", "__main__"}:
            seen.setdefault(name.split(".")[-1], []).append(name)
    assert not {stem: names for stem, names in seen.items() if len(names) > 1}
