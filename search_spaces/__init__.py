"""WHAT TO TRY: one file per space. A space is found by its file's name and draws with plain Optuna calls.

A space module has `suggest(trial) -> dict` of settings (see `trainables.config.DEFAULTS` for the names), `MAX_EPOCHS`, and the rungs
of successive halving `GRACE_EPOCHS` and `REDUCTION`. It may have `FIRST`, a list of parameters to try before the sampler draws.
"""

import ast
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from system.errors import UserError, unknown
from system.files import file_hash

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Space:
    """A loaded search space.

    Attributes:
        suggest: Called with an Optuna trial for every suggestion; returns settings by name.
        max_epochs: The most epochs any suggestion plans.
        grace_epochs: No trial is stopped before this many epochs.
        reduction: One in this many trials goes on from each rung.
        fingerprint: Hash of the file.
        files: Its source and that of the files of this folder that it imports, by name: what a study keeps, to say what has changed.
        first: Parameters that are tried before the sampler draws, best guess first.
    """

    name: str
    suggest: Callable[[Any], dict[str, Any]]
    max_epochs: int
    grace_epochs: int
    reduction: int
    fingerprint: str
    first: tuple[dict[str, Any], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def known_spaces() -> list[str]:
    """The names of all spaces; helper files begin with an underscore."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def load_space(name: str) -> Space:
    """The space in `search_spaces/<name>.py`.

    Raises:
        UserError: There is no such file, or it lacks a part. An error inside the file itself is raised as it is.
    """
    if name not in known_spaces():
        raise UserError(unknown("space", name, known_spaces()) + "; a new one is a file search_spaces/<name>.py")
    module = importlib.import_module(f"search_spaces.{name}")
    parts = ("suggest", "MAX_EPOCHS", "GRACE_EPOCHS", "REDUCTION")
    missing = [part for part in parts if not hasattr(module, part)]
    if missing:
        raise UserError(f"search_spaces/{name}.py must define {', '.join(parts)}; it lacks {', '.join(missing)}")
    return Space(
        name,
        module.suggest,
        module.MAX_EPOCHS,
        module.GRACE_EPOCHS,
        module.REDUCTION,
        file_hash(FOLDER / f"{name}.py")[:16],
        tuple(getattr(module, "FIRST", ())),
        dict(sorted(_sources(name, {}).items())),
    )


def _sources(name: str, found: dict[str, str]) -> dict[str, str]:
    """Name -> text of a file of this folder, and of every other one that it imports, directly or not; added to `found`."""
    path = next((path for folder in __path__ if (path := Path(folder) / f"{name}.py").is_file()), None)
    if path is None or path.name in found:
        return found
    found[path.name] = path.read_text(encoding="utf-8")
    for imported in _imported(ast.parse(found[path.name])):
        _sources(imported, found)
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    """The modules of this folder that a program names: `from search_spaces import _rates`, `from ._rates import low`, ..."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith(f"{__name__}."))
        elif isinstance(node, ast.ImportFrom) and (node.level == 1 or (node.module or "").split(".")[0] == __name__):
            below = (node.module or "").removeprefix(__name__).strip(".")
            yield from [below.split(".")[0]] if below else [alias.name for alias in node.names]
