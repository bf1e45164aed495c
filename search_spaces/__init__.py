"""WHAT TO TRY: one file per space. A space is found by its file's name and draws with plain Optuna calls.

A space module has `suggest(trial) -> dict` of settings (see `trainables.config.DEFAULTS` for the names), `MAX_EPOCHS`, and the rungs
of successive halving `GRACE_EPOCHS` and `REDUCTION`. It may have `FIRST`, a list of parameters to try before the sampler draws.

A space that looks at the data is asked with `Facts` as well: `suggest(trial, facts)`, `first(facts)` in place of `FIRST`, and perhaps
`targets(facts)`: which targets to search where nobody names some. It must decide by them alone: a study keeps them in its plan.
"""

import ast
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from system.errors import UserError, unknown
from system.files import file_hash

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Facts:
    """What a space may know of the photos and the search. The same data and flags give the same facts.

    Attributes:
        side: The median of the shorter side of training photos as they are, in pixels.
        image_size: The side that the competition asks for.
        n_train: How many photos a trial learns from.
        n_judged: How many it is judged on after each epoch.
        n_test: How many are answered.
        metric: The competition's.
        tasks: Names of its tasks.
        heads: Target -> its heads, of every target of all photos.
        n_targets: How many targets were asked for; 0 where nobody named some.
        hours: Of the search; `None` without a limit.
        gpu: Whether trials run on a GPU.
        at_once: How many trials run side by side on this machine.
    """

    side: int
    image_size: int
    n_train: int
    n_judged: int
    n_test: int
    metric: str
    tasks: tuple[str, ...]
    heads: Mapping[str, tuple[str, ...]]
    n_targets: int
    hours: float | None
    gpu: bool
    at_once: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Facts":
        """As a plan keeps them."""
        heads = {name: tuple(listed) for name, listed in value["heads"].items()}
        return cls(**{**value, "tasks": tuple(value["tasks"]), "heads": heads})


@dataclass(frozen=True)
class Asked:
    """What a space that looks at the data decides by `Facts`: what it tries first, and the targets; `()` for one per task."""

    first: Callable[[Facts], list[dict[str, Any]]]
    targets: Callable[[Facts], tuple[str, ...]]


@dataclass(frozen=True)
class Space:
    """A loaded search space.

    Attributes:
        suggest: Called with an Optuna trial for every suggestion; returns settings by name. One that looks at the data takes facts too,
            until `with_facts` binds them.
        max_epochs: The most epochs any suggestion plans.
        grace_epochs: No trial is stopped before this many epochs.
        reduction: One in this many trials goes on from each rung.
        fingerprint: Hash of the file.
        files: Its source and that of the files of this folder that it imports, by name: what a study keeps, to say what has changed.
        first: Parameters that are tried before the sampler draws, best guess first.
        asked: What it decides by facts; `None` for a space that is the same for all data.
        facts: Those that it decided by.
    """

    name: str
    suggest: Callable[..., dict[str, Any]]
    max_epochs: int
    grace_epochs: int
    reduction: int
    fingerprint: str
    first: tuple[dict[str, Any], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    asked: Asked | None = None
    facts: Facts | None = None

    def with_facts(self, facts: Facts) -> "Space":
        """The space for these data; itself where it is the same for all."""
        if self.asked is None:
            return self
        return replace(self, suggest=partial(self.suggest, facts=facts), first=tuple(self.asked.first(facts)), facts=facts)


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
        _asked(module),
    )


def _asked(module: Any) -> Asked | None:
    """What a space file decides by facts, if its `suggest` takes them."""
    if "facts" not in signature(module.suggest).parameters:
        return None
    return Asked(getattr(module, "first", lambda facts: []), getattr(module, "targets", lambda facts: ()))


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
