"""Shares that are handed in: the vote is one of shares, nothing is decided, and the bundle's rows are those of the export."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import predict
from bundle.export import export
from bundle.opened import Opened
from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import Prepared, prepare
from ensemble.options import Options
from ensemble.plan.near_ties import MARGIN
from ensemble.plan.plan import EnsemblePlan
from ensemble.selection.strategies import STRATEGIES
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.bundle.test_bundle import choose, train
from tests.conftest import TINY

COLOURS, SHAPES = ("red", "green", "blue"), ("disc", "square")
LABELS = [f"{colour}/{shape}" for colour in COLOURS for shape in SHAPES]
SUBMISSIONS = {
    "a probability": ("{p: {task: shape, form: probability, of: square}}", ["p"]),
    "probabilities": ("{'{class}': {task: colour, form: probabilities}}", list(COLOURS)),
    "probabilities of the label": ("{'{class}': {task: label, form: probabilities}}", LABELS),
    "a ranking": ("{best: {task: colour, form: ranking}}, k: 2", ["best"]),
    "a row for each class": ("{'{class}': {task: colour, form: probabilities}}, rows: {id: '{header}:{id}', value: p}", ["p"]),
    "a class and a probability": ("{colour: colour, p: {task: shape, form: probability}}", ["colour", "p"]),
}


def asked(answers: str, metric: str = "log_loss") -> Competition:
    text = TINY.split("submission:")[0] + f"metric: {metric}\nsubmission: {{id_column: image, answers: {answers}}}\n"
    return parse_competition(text, "tiny", where="x.yaml")


@pytest.fixture(scope="module")
def here(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompetitionPaths]:
    """A ledger with two finished trials of each task and of a cascade; what is handed in names no trial."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_DATA", str(tiny_data))
        patch.delenv("PODIUM_CACHE", raising=False)
        paths = CompetitionPaths(tmp_path_factory.mktemp("runs") / "tiny")
        train(
            prepare(asked("{'{class}': {task: colour, form: probabilities}}"), paths),
            2,
            ["colour", "shape", "shape@red", "shape@rest"],
        )
        yield paths


def exported(paths: CompetitionPaths, answers: str, to: Path, options: Options | None = None) -> tuple[Any, Prepared]:
    prepared = prepare(asked(answers), paths)
    choice = choose(prepared, options)
    export(Opened(prepared), choice, to)
    return choice, prepared


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("what", SUBMISSIONS)
def test_the_bundle_hands_in_the_exports_rows(
    here: CompetitionPaths, tiny_data: Path, tmp_path: Path, monkeypatch: Any, what: str
) -> None:
    answers, headers = SUBMISSIONS[what]
    choice, prepared = exported(here, answers, tmp_path)
    ids = list(choice.image_ids)
    (tmp_path / "ids.csv").write_text("image,file\n" + "".join(f"{i},{i}.png\n" for i in ids))
    arguments = [tmp_path / "bundle", tiny_data / "tiny", "--out", tmp_path / "again.csv", "--ids"]
    arguments += [tmp_path / "ids.csv", "--path-column", "file"]
    if what == "a row for each class":  # a sample has the rows' ids
        arguments[-3:] = [tmp_path / "submission.csv"]
    monkeypatch.setattr("sys.argv", ["predict.py", *map(str, arguments)])
    assert predict.main() == 0
    ours, again = rows(tmp_path / "submission.csv"), rows(tmp_path / "again.csv")
    assert list(ours[0]) == list(again[0]) == ["image", *headers]
    each = [f"{colour}:{i}" for i in ids for colour in COLOURS] if what == "a row for each class" else ids
    assert [row["image"] for row in ours] == [row["image"] for row in again] == each
    numbers = [h for h in headers if h not in ("best", "colour")]
    values = [np.array([[float(row[h]) for h in numbers] for row in table]) for table in (ours, again)]
    assert np.abs(values[0] - values[1]).max(initial=0) <= MARGIN
    if what.startswith("probabilities"):
        assert np.abs(values[0].sum(axis=1) - 1).max() < 1e-6
    assert EnsemblePlan.from_json(choice.plan.to_json()) == choice.plan
    by_class = what == "a class and a probability"
    assert {ensemble.spec.rule for ensemble in choice.plan.tasks} <= {"soft"}
    assert all(ensemble.spec.offsets is None and ensemble.spec.quota is None for ensemble in choice.plan.tasks)
    assert "forms" in choice.plan.to_json()["submission"]
    assert by_class == (prepared.competition.submission.columns[0].form == "class")


def test_photos_of_one_unit_have_one_row_in_the_export_and_from_the_bundle(
    here: CompetitionPaths, tiny_data: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    shutil.copytree(tiny_data / "tiny", tmp_path / "data/tiny")
    table = tmp_path / "data/tiny/manifest.csv"
    lines = table.read_text().splitlines()
    pairs = [f"{line},w{number // 2}" for number, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},well", *pairs]) + "\n")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    choice, prepared = exported(here, "{colour: colour, p: {task: shape, form: probability}}, unit: {column: well}", tmp_path)
    wells = [prepared.manifest.units[row] for row in prepared.manifest.rows("test")]
    ours = rows(tmp_path / "submission.csv")
    assert [row["image"] for row in ours] == list(dict.fromkeys(wells))
    assert len(ours) < len(choice.image_ids)
    arguments = [tmp_path / "bundle", tmp_path / "data/tiny", "--out", tmp_path / "again.csv"]
    monkeypatch.setattr("sys.argv", ["predict.py", *map(str, arguments)])
    assert predict.main() == 2, "which photos belong together is not said"
    whole = [line for line in table.read_text().splitlines() if line.startswith(("image", "t"))]
    (tmp_path / "ids.csv").write_text("\n".join(whole) + "\n")
    ids = ["--ids", str(tmp_path / "ids.csv"), "--path-column", "file"]
    monkeypatch.setattr("sys.argv", ["predict.py", *map(str, arguments), *ids])
    assert predict.main() == 0
    again = rows(tmp_path / "again.csv")
    assert [(row["image"], row["colour"]) for row in ours] == [(row["image"], row["colour"]) for row in again]
    assert all(abs(float(one["p"]) - float(two["p"])) <= MARGIN for one, two in zip(ours, again, strict=True))


def test_shares_of_the_label_are_those_of_its_tasks_multiplied(here: CompetitionPaths, tmp_path: Path) -> None:
    alone = {task: "{'{class}': {task: " + task + ", form: probabilities}}" for task in ("colour", "shape", "label")}
    tables = {}
    for task, answers in alone.items():
        exported(here, answers, tmp_path / task, Options(vote="soft", top=2, plain=True))
        tables[task] = np.array([[float(v) for v in list(row.values())[1:]] for row in rows(tmp_path / task / "submission.csv")])
    product = (tables["colour"][:, :, None] * tables["shape"][:, None, :]).reshape(len(tables["label"]), -1)
    assert np.abs(product - tables["label"]).max() < 1e-12


def test_a_cascade_weighs_all_subsets_where_shares_are_handed_in(here: CompetitionPaths, tmp_path: Path) -> None:
    answers = "{'{class}': {task: shape, form: probabilities}}"
    options = Options(targets=("colour", "shape@red", "shape@rest"), top=1, plain=True)
    choice, _ = exported(here, answers, tmp_path, options)
    assert choice.plan.decoder.way == "soft-cascade"
    assert choice.plan.to_json()["together"]["way"] == "soft-cascade"


@pytest.mark.parametrize("vote", [name for name, one in STRATEGIES.items() if one.ballots])
def test_ballots_are_not_offered_where_shares_are_handed_in(here: CompetitionPaths, vote: str) -> None:
    with pytest.raises(UserError, match=rf"--vote {vote} counts what trials name.*or give one of single, soft, geometric"):
        choose(prepare(asked(SUBMISSIONS["probabilities"][0]), here), Options(vote=vote))


@pytest.mark.long
def test_the_tournament_compares_only_votes_of_shares(here: CompetitionPaths) -> None:
    choice = choose(
        prepare(asked(SUBMISSIONS["probabilities"][0]), here), Options(vote="best", targets=("colour", "shape"), plain=True)
    )
    tried = choice.journal["places"]["colour"]["tournament"]
    assert tried["default"] == "soft"
    assert {entry["way"] for entry in tried["entries"]} == {name for name, one in STRATEGIES.items() if not one.ballots}
