"""The pictures show what is there: they are drawn anew, and compared with folders, imports and numbers."""

import ast
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
NOT_ROOMS = {"tests", "benchmarks", "docs"}


def drawing(name: str) -> ModuleType:
    """The script `docs/<name>.py` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOUSE = drawing("draw_house")


def imports_of(folder: str) -> set[str]:
    """The folders that any file of a folder imports, inside functions too."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / folder).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}


def test_the_house_is_drawn_as_its_script_draws_it() -> None:
    assert HOUSE.PICTURE.read_text(encoding="utf-8") == HOUSE.house(), "run: python docs/draw_house.py"


def test_the_house_shows_every_folder_and_every_wing() -> None:
    shown = {room.name: set(room.wings) for _, rooms in HOUSE.FLOORS for room in rooms}
    there: dict[str, set[str]] = {
        path.parent.name: set() for path in ROOT.glob("*/__init__.py") if path.parent.name not in NOT_ROOMS
    }
    for path in ROOT.glob("*/*/__init__.py"):
        if path.parts[-3] in there:
            there[path.parts[-3]].add(path.parts[-2])
    assert shown == there, "draw it in docs/draw_house.py"


def test_the_house_shows_every_verb() -> None:
    assert {f"{name}.py" for names in HOUSE.VERBS for name in names} == {path.name for path in ROOT.glob("*.py")}


ROOMS = {level: [room.name for room in rooms] for level, rooms in HOUSE.FLOORS}


@pytest.mark.parametrize("upper", ROOMS[HOUSE.DRAWN_LEVEL])
def test_the_arrows_are_the_imports(upper: str) -> None:
    below = {*ROOMS[HOUSE.DRAWN_LEVEL - 1]}
    assert imports_of(upper) & below == {used for user, used in HOUSE.USES if user == upper}


def test_the_demo_is_drawn_from_its_numbers() -> None:
    demo = drawing("draw_demo")
    numbers = json.loads(demo.NUMBERS.read_text(encoding="utf-8"))
    assert demo.PICTURE.read_text(encoding="utf-8") == demo.picture(numbers), "run: python docs/draw_demo.py"


def test_the_picture_and_the_page_show_the_same_run() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for row in json.loads((ROOT / "docs/demo.json").read_text(encoding="utf-8"))["rows"]:
        shown = " ".join(f"{row[key]:.4f}" for key in ("single_truth", "hard_truth", "soft_truth", "exported_truth"))
        assert shown in " ".join(page.split())
