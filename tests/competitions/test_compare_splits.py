"""Splits side by side: the numbers are those of the folds, and a split that cannot be made says why without hiding the others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from competitions.compare_splits import compare_splits
from competitions.competition import Competition, Split
from competitions.prepare import Prepared, prepare


@pytest.fixture
def several(tiny: Prepared, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """The tiny competition with a random split, a holdout, and one it has too few groups for."""
    monkeypatch.setenv("PODIUM_DATA", str(tiny_data))
    splits = {
        "random": Split(name="random", folds=4, by_group=False),
        "holdout20": Split(name="holdout20", holdout=0.2),
        "twenty": Split(name="twenty", folds=20),
    }
    competition: Competition = tiny.competition.model_copy(update={"splits": splits})
    return prepare(competition, tiny.paths)


def test_each_declared_split_has_a_row(several: Prepared) -> None:
    groups, random, holdout, twenty = compare_splits(several)
    assert [row["name"] for row in (groups, random, holdout, twenty)] == ["groups", "random", "holdout20", "twenty"]
    assert groups["photos"] == [int((several.folds.fold == fold).sum()) for fold in range(4)]
    assert (groups["groups_cut"], groups["by_group"], groups["holdout"]) == (0, True, None)
    assert random["groups_cut"] > 10
    assert not random["by_group"]
    assert random["deviation"] < groups["deviation"]
    assert holdout["holdout"] == round(holdout["photos"][0] / 79, 4)
    assert 0.2 <= holdout["holdout"] <= 0.31  # one of 20 groups for each of 6 composed classes
    assert holdout["pinned_photos"] == 0
    assert all(row["fault"] is None for row in (groups, random, holdout, twenty))


def test_a_split_that_cannot_be_made_says_why(several: Prepared) -> None:
    few = several.competition.model_copy(update={"splits": {"many": Split(name="many", folds=20), **several.competition.splits}})
    usable = several.folds.fold.copy()
    usable[np.flatnonzero(usable == 3)] = -2
    row = compare_splits(replace(several, competition=few, folds=replace(several.folds, fold=usable)))[1]
    assert row["photos"] == []
    assert "20 folds need at least 20 groups" in row["fault"]
