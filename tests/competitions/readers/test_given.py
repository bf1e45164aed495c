"""A split that was handed out judges as it was cut: its photos are fold 0, or as many folds as it names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import Prepared, load_prepared, prepare
from competitions.splits import PINNED, UNUSABLE
from system.errors import UserError
from system.paths import CompetitionPaths

YAML = """
root: mine
table: t.csv
columns: {group: who, role: part}
roles: {train: [train, val], test: test}
tasks: {kind: {column: kind}}
split: {given: part}
splits: {five: {given: fold, folds: 3}, random: {folds: 2}}
image_size: 16
submission: {answers: {kind: kind}}
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    rows = []
    for k in range(16):
        pixels = np.random.default_rng(k).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"mine/{k}.png")
        part = ("train", "train", "val", "test")[k % 4]
        rows.append(f"{k}.png,p{k},{part},{'' if part == 'test' else 'xy'[k // 4 % 2]},{k % 3 + 8 if part != 'test' else ''}")
    (tmp_path / "mine/t.csv").write_text("\n".join(["image,who,part,kind,fold", *rows]) + "\n")
    return tmp_path / "mine"


def competition(text: str = YAML, split: str | None = None) -> Competition:
    from competitions.competition import with_split

    return with_split(parse_competition(text, "mine", where="mine.yaml"), split)


def prepared(root: Path, text: str = YAML, split: str | None = None) -> Prepared:
    return prepare(competition(text, split), CompetitionPaths(root.parent / "storage/mine"))


def test_the_given_part_judges_and_the_rest_teaches(data: Path) -> None:
    found = prepared(data)
    assert found.competition.split.n_folds == 1
    assert found.folds.fold.tolist() == [PINNED, PINNED, 0, UNUSABLE] * 4
    assert load_prepared(found.paths, found.save()).folds.fold.tolist() == found.folds.fold.tolist()


def test_given_folds_are_numbered_in_their_order(data: Path) -> None:
    folds = prepared(data, split="five").folds.fold
    assert folds[[0, 1, 2]].tolist() == [0, 1, 2]
    assert set(folds.tolist()) == {0, 1, 2, UNUSABLE}


def test_a_given_split_that_does_not_fit_says_why(data: Path) -> None:
    with pytest.raises(
        UserError, match=r"names 3 parts that judge \('8', '9', '10'\), the split has 1; write `folds` beside `given`"
    ):
        prepared(data, YAML.replace("given: part", "given: fold"))
    with pytest.raises(UserError, match="split groups, given: unknown column 'cut'"):
        prepared(data, YAML.replace("given: part", "given: cut"))
    with pytest.raises(UserError, match="holdout, matched, groups and by_group have no effect"):
        competition(YAML.replace("given: part", "given: part, holdout: 0.2"))
    with pytest.raises(UserError, match=r"split\.given has no effect with the reader folders"):
        parse_competition(
            "reader: folders\nsplit: {given: part}\ntasks: {kind: {}}\nsubmission: {answers: {kind: kind}}\n", "x", where="x.yaml"
        )
    (data / "t.csv").write_text((data / "t.csv").read_text().replace(",p2,", ",p0,"))
    assert "the given split cuts 1 groups apart: p0; its scores may be too good" in prepared(data).folds.notes
