"""What counts as changed code: what a file does, not how it is written."""

import shutil
from pathlib import Path

import pytest

from search.code import REPOSITORY, WITHOUT, code, meaning

PROGRAM = '''
"""What it is for."""
RATE = 1e-3
"""Of learning."""


def loss(logits, weight=None):
    """One sentence."""
    return [f"{x:.2f}" for x in logits] if weight is None else {**weight}  # why
'''


@pytest.mark.parametrize(
    "rewritten",
    [
        PROGRAM.replace("  # why", ""),
        PROGRAM.replace('"""One sentence."""', '"""Another."""'),
        PROGRAM.replace('"""Of learning."""', ""),
        PROGRAM.replace("1e-3", "0.001"),
        PROGRAM.replace("weight is None", "(\n        weight is None\n    )"),
    ],
)
def test_what_does_the_same_has_the_same_hash(rewritten: str) -> None:
    assert rewritten != PROGRAM
    assert meaning(rewritten) == meaning(PROGRAM)


@pytest.mark.parametrize(
    "change", [("1e-3", "2e-3"), ("weight=None", "weight=0"), (":.2f", ":.3f"), ("is None", "is not None"), ("RATE", "LR")]
)
def test_what_does_something_else_has_another_hash(change: tuple[str, str]) -> None:
    assert meaning(PROGRAM.replace(*change)) != meaning(PROGRAM)


def test_every_file_that_decides_is_named_when_it_changes_and_no_other(tmp_path: Path) -> None:
    for folder in (*WITHOUT, "ledger", "search_spaces"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = code(tmp_path)
    assert before == code()
    for path in tmp_path.rglob("*.py"):
        path.write_text(path.read_text() + "\nPLANTED = 1\n")
    code.cache_clear()
    now = code(tmp_path)
    assert {name for name in now if now[name] != before[name]} == set(before)
    for decides in (
        "trainables/losses.py",
        "competitions/metrics.py",
        "search/tune/searcher.py",
        "search/tune/scheduler.py",
        "ledger/trials.py",
    ):
        assert decides in before
    for told in (
        "trainables/reproduce/retrain.py",
        "search/tune/callback.py",
        "ledger/merge/ledgers.py",
        "search_spaces/quick.py",
    ):
        assert told not in before
