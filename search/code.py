"""The code that decides what a trial learns or what a study asks next -> one hash per file, the same on every machine.

Hashed is what a file does, not how it is written: comments, docstrings, blank lines and line breaks may change and nobody is stopped.
"""

import ast
from functools import lru_cache
from pathlib import Path
from typing import Any

from system.files import fingerprint

REPOSITORY = Path(__file__).parents[1]
WITHOUT = {
    "competitions": ("_rules", "compare_data", "compare_splits", "near_duplicates", "oddities"),
    "search": ("against", "callback", "changes", "code", "launch", "leak", "warm_start"),
    "trainables": ("ingredients", "provenance", "reproduce"),
}
"""Folder -> its modules that only tell, compare or connect; all others of these folders count, those that are added too."""
MORE = ("system/files.py", "ledger/studies.py", "ledger/trials.py", "search_spaces/__init__.py")
"""Of the ledger what names trials and says what a study decided; the rest of it keeps and finds. A space is compared as a text."""


@lru_cache(1)
def code(root: Path = REPOSITORY) -> dict[str, str]:
    """File below `root` -> hash of what it does."""
    files = [path for folder, beside in WITHOUT.items() for path in (root / folder).glob("*.py") if path.stem not in beside]
    files += [root / name for name in MORE]
    return {path.relative_to(root).as_posix(): meaning(path.read_text(encoding="utf-8")) for path in sorted(files)}


def meaning(text: str) -> str:
    """A hash of a program's syntax tree without docstrings.

    `ast.dump` and `ast.unparse` write one tree differently in different versions of Python, so the tree is written here.

    >>> meaning("x = 1  # one") == meaning("x = (1)"), meaning("x = 1") == meaning("x = 2")
    (True, False)
    """
    return fingerprint(_form(ast.parse(text)))


def _form(node: Any) -> Any:
    if isinstance(node, ast.AST):
        parts = {name: _form(value) for name, value in ast.iter_fields(node) if name not in ("kind", "type_comment")}
        return [type(node).__name__, {name: part for name, part in parts.items() if part not in ("None", [])}]
    if isinstance(node, list):
        return [_form(part) for part in node if not _is_text(part)]
    return repr(node)


def _is_text(node: Any) -> bool:
    """Whether a statement is a mere text: a docstring, or what explains the constant above it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
