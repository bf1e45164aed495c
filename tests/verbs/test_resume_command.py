"""Ctrl-C and a full disk print the exact command to go on with: what the study remembers is left out, the rest is said again."""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import run_search
from ledger.studies import StudyFolder
from search.request import FLAGS

SAID: dict[str, Any] = {**dict.fromkeys(flag.name for flag in FLAGS), "storage": None, "competition": "demo"}


@dataclass(frozen=True)
class Begun:
    """What the command looks at of a plan."""

    study: StudyFolder
    former: dict[str, Any] = field(default_factory=dict)


def command(plan: Begun, **said: Any) -> str:
    return run_search._resume_command(Namespace(**{**SAID, **said}), plan).partition("run_search.py ")[2]


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    made = StudyFolder(tmp_path / "s")
    made.write_plan({"request": {"trials": 8}})
    return made


def test_what_is_asked_of_a_run_is_said_again(study: StudyFolder) -> None:
    assert command(Begun(study), trials=8, keep="5") == "demo --resume s"
    asked = {"storage": "my runs", "address": "auto", "hours": 1.5, "tracker": "wandb", "loader_workers": 2, "retry_failed": True}
    told = "demo --resume s --storage 'my runs' --hours 1.5 --loader-workers 2 --address auto --track wandb --retry-failed"
    assert command(Begun(study), **asked) == told


def test_what_the_plan_was_not_told_yet_is_said_again(study: StudyFolder) -> None:
    asked = {"resume": "s", "trials": 40, "keep": "5", "accept_change": True}
    assert command(Begun(study, former=study.plan()), **asked) == "demo --resume s --trials 40 --accept-change --keep 5"
    assert command(Begun(study, former={"request": {"trials": 4}}), **asked) == "demo --resume s"
