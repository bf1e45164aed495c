"""A study is of one split: its record names it, and whoever goes on with the study gets it without asking."""

from pathlib import Path

import pytest

from ledger.errors import UserError
from search.plan import make_plan, plan_json
from search.request import Request
from tests.conftest import TINY


@pytest.fixture
def yaml(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny competition's file with two more splits."""
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY + "splits: {random: {folds: 3, by_group: false}, holdout20: {holdout: 0.2}}\n")
    return path


def test_a_study_goes_on_with_the_split_it_began_with(yaml: Path, tmp_path: Path) -> None:
    begun = make_plan(Request(str(yaml), space="smoke", study="held", split="holdout20"), tmp_path / "runs")
    assert {question.split for question in begun.questions.values()} == {"holdout20"}
    begun.study.write_plan(plan_json(begun, "key"))
    gone_on = make_plan(Request(str(yaml), study="held", resume=True), tmp_path / "runs")
    assert gone_on.questions == begun.questions
    assert gone_on.prepared.competition.split.name == "holdout20"


def test_each_split_has_data_of_its_own_and_the_record_names_the_default(yaml: Path, tmp_path: Path) -> None:
    plans = [
        make_plan(Request(str(yaml), space="smoke", study="s", split=s), tmp_path / "runs") for s in (None, "random", "holdout20")
    ]
    assert len({plan.questions["colour"].data for plan in plans}) == 3
    assert [plan_json(plan, "key")["request"]["split"] for plan in plans] == ["groups", "random", "holdout20"]


def test_a_fold_that_the_split_does_not_have_is_refused(yaml: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold must be 0..0, got 3; split 'holdout20' has 1 fold"):
        make_plan(Request(str(yaml), space="smoke", fold=3, split="holdout20"), tmp_path / "runs")
