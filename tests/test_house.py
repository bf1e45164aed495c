"""The shape of the house: few files side by side, no circle of imports, and one meaning for every public name."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_FILES = 20
SPACES = "search_spaces"
"""Its files are plug-ins of one contract, so they share the contract's names (MAX_EPOCHS, ...) and count as one module."""
SCRIPTS = ("benchmarks", "docs")
"""Each file is a script with settings of its own; its tables and classes are held to the rule as well."""
FILES = sorted(
    path.relative_to(ROOT)
    for folder in (ROOT, *(path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."))
    for path in (folder.glob("*.py") if folder == ROOT else folder.rglob("*.py"))
    if path.relative_to(ROOT).parts[0] not in ("shared", "runs", "exported")
)
TREES = {path: ast.parse((ROOT / path).read_text(encoding="utf-8")) for path in FILES}
MODULES = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of what a file imports, inside functions too; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(name: str) -> Path | None:
    """The file that a dotted name is imported from; None where it is not ours."""
    return MODULES.get(name) or MODULES.get(name.rpartition(".")[0])


def assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """The names that a module assigns at its top level, each with its value where one is written beside it."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                value = node.value if isinstance(target, ast.Name) else None
                yield from ((name.id, value) for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def twice(names: Iterator[tuple[str, Path]]) -> dict[str, list[str]]:
    """The names that stand in more than one module."""
    found = defaultdict[str, set[str]](set)
    for name, path in names:
        found[name].add(SPACES if path.parts[0] == SPACES else path.as_posix())
    return {name: sorted(places) for name, places in sorted(found.items()) if len(places) > 1}


def classes_twice() -> dict[str, list[str]]:
    definitions = ((node, path) for path, tree in TREES.items() for node in tree.body)
    return twice((node.name, path) for node, path in definitions if isinstance(node, ast.ClassDef) and node.name[0] != "_")


def capitals_twice() -> dict[str, list[str]]:
    tables = (ast.Dict, ast.Tuple, ast.List, ast.Set)
    return twice(
        (name, path)
        for path, tree in TREES.items()
        for name, value in assigned(tree)
        if name.isupper()
        if path.parts[0] != "tests" and (path.parts[0] not in SCRIPTS or isinstance(value, tables))
    )


def test_no_folder_has_more_files_than_one_can_see_at_once() -> None:
    found = Counter(path.parent.as_posix() for path in FILES)
    assert {folder: n for folder, n in found.items() if n > MOST_FILES} == {}


def test_no_file_imports_itself_over_others() -> None:
    graph = {
        path: {found for name in imported(tree) if (found := file_of(name)) is not None and found != path}
        for path, tree in TREES.items()
    }
    assert sum(map(len, graph.values())) > len(FILES), "most files import another"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(map(str, error.args[1])))


def test_no_class_has_the_name_of_another() -> None:
    assert classes_twice() == {}


def test_no_type_of_the_product_has_the_name_of_one_of_its_classes() -> None:
    product = {path: tree for path, tree in TREES.items() if path.parts[0] not in ("tests", *SCRIPTS)}
    classes = {node.name: path for path, tree in product.items() for node in tree.body if isinstance(node, ast.ClassDef)}
    named = ((name, path) for path, tree in product.items() for name, _ in assigned(tree) if name in classes)
    assert [(name, str(path), str(classes[name])) for name, path in named] == []


def test_every_name_in_capitals_means_one_thing() -> None:
    assert capitals_twice() == {}
