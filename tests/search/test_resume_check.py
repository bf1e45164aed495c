"""A study that goes on: each planted change is the one that is named; what may change results stops it, the rest is told."""

import csv
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import search_spaces
from ledger.studies import StudyFolder, Suggestion
from search.plan import Plan, make_plan, plan_json
from search.request import Request
from search.resume_check import DECIDING, REPOSITORY, TELLING, code, meaning, record
from system.errors import UserError
from tests.conftest import TINY
from trainables.config import resolve

SPACE = """
from search_spaces._rates import rate  # what helps

MAX_EPOCHS, GRACE_EPOCHS, REDUCTION = 2, 1, 2


def suggest(trial):
    return {"backbone": "test_byobnet", "epochs": 2, "lr": rate(trial)}
"""
RATES = """
def rate(trial):
    return trial.suggest_float("lr", 1e-3, 6e-3, log=True)
"""

PROGRAM = '''
"""What it is for."""
RATE = 1e-3
"""Of learning."""


def loss(logits, weight=None):
    """One sentence."""
    return [f"{x:.2f}" for x in logits] if weight is None else {**weight}  # why
'''


@dataclass
class StudyDesk:
    """A study `s` that began, and everything that can be changed under it."""

    root: Path

    @property
    def yaml(self) -> Path:
        return self.root / "tiny.yaml"

    @property
    def plan_file(self) -> Path:
        return self.root / "runs/tiny/studies/s/plan.json"

    def begin(self, **asked: Any) -> Plan:
        plan = make_plan(Request(str(self.yaml), space="mine", study="s", **asked), self.root / "runs")
        plan.study.write_plan(plan_json(plan, plan.prepared.save()))
        return plan

    def go_on(self, **asked: Any) -> Plan:
        forget()
        return make_plan(Request(str(self.yaml), study="s", resume=True, **asked), self.root / "runs")

    def write(self, plan: Plan) -> None:
        """What a driver does before the first trial."""
        record(plan.study, plan.changes, {})
        plan.study.write_plan(plan_json(plan, plan.prepared.save()))

    def replace(self, old: str, new: str, name: str = "tiny.yaml") -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def row(self, photo: str, **cells: str) -> None:
        """Change cells of one photo's row; without any the row goes."""
        path = self.root / "data/tiny/manifest.csv"
        with open(path, newline="") as file:
            header, *rows = csv.reader(file)
        for row in [row for row in rows if row[0] == photo]:
            if not cells:
                rows.remove(row)
            for name, value in cells.items():
                row[header.index(name)] = value
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])

    def add(self, photo: str) -> None:
        with open(self.root / "data/tiny/manifest.csv", "a", newline="") as file:
            csv.writer(file).writerow([photo, f"{photo}.png", "new", "train", "red", "disc"])
        Image.fromarray(np.full((40, 40, 3), 77, np.uint8)).save(self.photo(photo))

    def photo(self, name: str) -> Path:
        return self.root / f"data/tiny/{name}.png"

    def paint(self, name: str) -> None:
        with Image.open(self.photo(name)) as image:
            pixels = np.asarray(image).copy()
        pixels[:8, :8] = 255 - pixels[:8, :8]
        Image.fromarray(pixels).save(self.photo(name))

    def coded(self, without: str, *more: str) -> None:
        """Let the plan say that no definition began so then, if `without` says anything, and that there were `more`."""
        kept = StudyFolder(self.plan_file.parent).plan()["code"]
        self.recorded("code", value=sorted([*(entry for entry in kept if not without or not entry.startswith(without)), *more]))

    def recorded(self, *keys: str, value: Any) -> None:
        """Let the plan say that something was otherwise then."""
        study = StudyFolder(self.plan_file.parent)
        plan = study.plan()
        place = plan
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        study.write_plan(plan)


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("search_spaces.")]:
        del sys.modules[name]


@pytest.fixture
def desk(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudyDesk]:
    shutil.copytree(tiny_data / "tiny", tmp_path / "data/tiny")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    spaces = tmp_path / "spaces"
    spaces.mkdir()
    (spaces / "mine.py").write_text(SPACE)
    (spaces / "_rates.py").write_text(RATES)
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.setattr(search_spaces, "FOLDER", spaces)
    monkeypatch.setattr(search_spaces, "__path__", [str(spaces)])
    monkeypatch.setattr("search.space_check.SPACE_DRAWS", 3)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file of the same second and size would be read from its cache
    yield StudyDesk(tmp_path)
    forget()


STOPS: dict[str, tuple[Callable[[StudyDesk], object], str]] = {
    "code": (lambda desk: desk.coded("focal ", "focal then"), "code: focal of trainables/losses.py changed"),
    "new_code": (lambda desk: desk.coded("focal "), "code: focal of trainables/losses.py (new) changed"),
    "gone_code": (lambda desk: desk.coded("", "hinge then"), "code: hinge (gone) changed"),
    "code_by_files": (
        lambda desk: desk.recorded("code", value={"trainables/losses.py": "3a" * 8, "search/base.py": "5b" * 8}),
        "code: the study began with an earlier version of Podium",
    ),
    "space": (lambda desk: desk.replace('"epochs": 2', '"epochs": 1', "spaces/mine.py"), "space: search_spaces/mine.py changed\n"),
    "helper": (lambda desk: desk.replace("6e-3", "7e-3", "spaces/_rates.py"), "space: search_spaces/_rates.py changed\n"),
    "pixels": (lambda desk: desk.paint("g03-1"), "pixels: 1 photo with other pixels (g03-1)"),
    "label": (lambda desk: desk.row("g03-1", colour="blue"), "labels: 1 photo with another label of task colour (g03-1)"),
    "group": (lambda desk: desk.row("g03-1", group="g04"), "groups: 1 photo with another group (g03-1)"),
    "added": (lambda desk: desk.add("n0"), "photos: 1 training photo added (n0)"),
    "removed": (lambda desk: desk.row("g03-1"), "photos: 1 training photo removed (g03-1)"),
    "broken": (lambda desk: desk.photo("g03-1").write_bytes(b"\x89PNG"), "photos: 1 training photo can no longer be decoded (g03-1)"),
    "split": (lambda desk: desk.replace("folds: 4", "folds: 5"), "split: split.folds was 4, is 5"),
    "seed": (lambda desk: desk.replace("seed: 0", "seed: 1"), "split: split.seed was 0, is 1"),
    "metric": (lambda desk: desk.replace("image_size: 32", "image_size: 32\nmetric: accuracy"), "metric: metric was macro_f1, is accuracy"),
    "image_size": (lambda desk: desk.replace("image_size: 32", "image_size: 48"), "image_size: image_size was 32, is 48"),
    "classes": (
        lambda desk: desk.replace("[disc, square]", "[square, disc]"),
        "classes: classes of task shape was disc, square, is square, disc",
    ),
}  # fmt: skip
TOLD: dict[str, tuple[Callable[[StudyDesk], object], str]] = {
    "versions": (lambda desk: desk.recorded("made_of", "packages", "torch", value="0.9"), "versions: torch was 0.9, is "),
    "python": (lambda desk: desk.recorded("made_of", "python", value="2.7"), "versions: python was 2.7, is 3."),
    "views": (
        lambda desk: desk.replace("hflip, darken", "hflip"),
        "views: views was identity, hflip, darken, is identity, hflip",
    ),
    "forbids": (
        lambda desk: desk.replace("[disc, square]", "[disc, square], forbids: [darken]"),
        "forbids: forbids of task shape was none, is darken",
    ),
    "test_photo": (lambda desk: desk.paint("t05"), "pixels: 1 test photo with other pixels (t05)"),
    "test_photos": (lambda desk: desk.row("t05"), "photos: 1 test photo removed (t05)"),
}
NOTHING: dict[str, Callable[[StudyDesk], object]] = {
    "nothing": lambda desk: None,
    "comment": lambda desk: desk.replace("# what helps", "# helps", "spaces/mine.py"),
    "more_targets": lambda desk: desk.replace("  both:", "  more: {heads: [shape, colour]}\n  both:"),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_planted_change_stops_the_study_and_is_the_one_that_is_named(name: str, desk: StudyDesk) -> None:
    begun = desk.begin()
    change, told = STOPS[name]
    change(desk)
    before = desk.plan_file.read_bytes()
    with pytest.raises(UserError) as stopped:
        desk.go_on()
    first, *named, last = stopped.value.faults
    assert first == "study 's' stops: not everything is as it began"
    assert len(named) == 1
    assert named[0].startswith(told)
    assert "--accept-change" in last
    assert desk.plan_file.read_bytes() == before
    assert begun.study.events() == []
    accepted = desk.go_on(accept_change=True)
    desk.write(accepted)
    assert [event["event"] for event in begun.study.events()] == ["accepted"]
    assert [f"{c['kind']}: {c['text']}" for c in begun.study.events()[0]["changes"]] == named
    assert [one["prepared"] for one in begun.study.plan()["before"]] == [json.loads(before)["prepared"]]


def test_the_diff_of_a_space_shows_the_lines_that_changed(desk: StudyDesk) -> None:
    desk.begin()
    desk.replace("6e-3", "7e-3", "spaces/_rates.py")
    with pytest.raises(UserError) as stopped:
        desk.go_on()
    lines = stopped.value.faults[1].splitlines()
    assert '-    return trial.suggest_float("lr", 1e-3, 6e-3, log=True)' in lines
    assert '+    return trial.suggest_float("lr", 1e-3, 7e-3, log=True)' in lines


@pytest.mark.parametrize("name", TOLD)
def test_what_decides_no_result_is_told_and_recorded_and_stops_nobody(
    name: str, desk: StudyDesk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.begin()
    change, told = TOLD[name]
    change(desk)
    with caplog.at_level(logging.WARNING, "podium.search"):
        plan = desk.go_on()
    assert [str(one).startswith(told) for one in plan.changes] == [True]
    assert f"study s goes on with other {told}" in caplog.text
    desk.write(plan)
    assert [event["event"] for event in plan.study.events()] == ["noted"]
    assert plan.study.plan()["before"] == []


@pytest.mark.parametrize("name", NOTHING)
def test_what_changes_nothing_is_not_told(name: str, desk: StudyDesk, caplog: pytest.LogCaptureFixture) -> None:
    desk.begin()
    NOTHING[name](desk)
    assert desk.go_on().changes == ()
    with caplog.at_level(logging.INFO, "podium.search"):
        desk.go_on(accept_change=True)
    assert "there is nothing to accept" in caplog.text


def test_all_changes_are_named_at_once(desk: StudyDesk) -> None:
    desk.begin()
    for name in ("code", "space", "pixels", "label", "metric"):
        STOPS[name][0](desk)
    with pytest.raises(UserError) as stopped:
        desk.go_on()
    kinds = [fault.partition(":")[0] for fault in stopped.value.faults[1:-1]]
    assert kinds == ["code", "space", "metric", "pixels", "labels"]
    desk.write(desk.go_on(accept_change=True))
    assert desk.go_on().changes == (), "it goes on from what was accepted"


def test_without_the_preparation_of_then_it_says_only_what_it_knows(desk: StudyDesk) -> None:
    begun = desk.begin()
    shutil.rmtree(begun.paths.data / "prepared")
    desk.paint("g03-1")
    with pytest.raises(UserError, match="data: photos, labels or folds are not those of then; which they were was not kept"):
        desk.go_on()


def test_unfinished_trials_of_changed_photos_are_given_up_and_others_are_not(desk: StudyDesk) -> None:
    begun = desk.begin(targets=("colour", "shape@red"))
    for number, (name, question) in enumerate(begun.questions.items(), start=1):
        config = resolve({"backbone": "test_byobnet", "epochs": 2, "lr": 0.01}, question)
        begun.study.write_suggestion(Suggestion(number, name, config.trial_id, {}, settings=config.json()))
    desk.paint("g02-0")  # it is blue, so shape@red does not ask about it
    plan = desk.go_on(accept_change=True)
    answered = {s.trial_id: s.settings["data"] == plan.questions[s.target].data for s in plan.study.suggestions()}
    record(plan.study, plan.changes, answered)
    statuses = [plan.study.statuses()[s.trial_id] for s in plan.study.suggestions()]
    assert statuses == ["superseded", "running"]
    assert plan.study.events()[-1]["reason"] == "pixels: 1 photo with other pixels (g02-0)"


def test_what_the_rules_allow_and_one_answer_per_group_stop_no_study(desk: StudyDesk) -> None:
    desk.begin()
    desk.replace("column: colour,", "column: colour, same_in_group: true,")
    desk.replace("image_size: 32", "image_size: 32\nallows: [test_shares]\ntest_shares: {shape: {disc: 0.5, square: 0.5}}")
    plan = desk.go_on()
    assert plan.prepared.competition.allows == ("test_shares",)
    assert plan.changes == ()


def test_a_study_on_all_data_does_not_go_on_with_other_photos(desk: StudyDesk) -> None:
    begun = desk.begin()
    questions = {name: {**vars(question), "fold": -1} for name, question in begun.questions.items()}
    parameters = {"epochs": 1, "backbone": "test_byobnet"}
    members = {name: [resolve(parameters, replace(question, fold=-1)).json()] for name, question in begun.questions.items()}
    desk.recorded("questions", value=questions)
    desk.recorded("members", value=members)
    desk.recorded("request", "all_data", value=True)
    desk.recorded("space_files", value={})
    assert desk.go_on().members
    desk.paint("g03-1")
    with pytest.raises(UserError) as stopped:
        desk.go_on(accept_change=True)
    assert "--accept-change" not in stopped.value.faults[-1]


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


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of what decides, and of what stands beside it."""
    for folder in ("competitions", "ledger", "search", "search_spaces", "system", "trainables"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    code.cache_clear()
    yield tmp_path
    code.cache_clear()


def code_of(checkout: Path) -> dict[str, str]:
    code.cache_clear()
    return code(checkout)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_code_that_decides_counts_wherever_it_stands_and_what_only_tells_does_not(checkout: Path) -> None:
    before = code_of(checkout)
    assert before == code_of(REPOSITORY)
    files = {path.relative_to(checkout).as_posix(): path for path in checkout.rglob("*.py")}
    for number, path in enumerate(files.values()):
        path.write_text(path.read_text() + f"\nPLANTED = {number}\n")
    planted = {file for entry, file in code_of(checkout).items() if entry.startswith("PLANTED ")}
    decides = [name for name in files if any(name == place or name.startswith(f"{place}/") for place in DECIDING)]
    assert planted == {name for name in decides if not name.startswith(TELLING)}
    for name in ("losses", "training", "config"):
        assert f"trainables/{name}.py" in planted
    assert {"competitions/metrics.py", "search/tune/searcher.py", "search/tune/scheduler.py", "ledger/trials.py"} <= planted
    assert not planted & {"trainables/reproduce/retrain.py", "search/tune/callback.py", "ledger/merge/ledgers.py"}
    assert all((REPOSITORY / f"{name}.py").is_file() or (REPOSITORY / name).is_dir() for name in TELLING)


def test_a_file_that_moves_and_a_definition_that_moves_stop_nobody(checkout: Path) -> None:
    before = code_of(checkout)
    (checkout / "trainables/parts").mkdir()
    (checkout / "trainables/losses.py").rename(checkout / "trainables/parts/costs.py")
    for path in checkout.rglob("*.py"):
        path.write_text(path.read_text().replace("from trainables.losses import", "from trainables.parts.costs import"))
    assert set(code_of(checkout)) == set(before)
    samplers, batches = checkout / "trainables/samplers.py", checkout / "trainables/batches.py"
    text = samplers.read_text()
    start = text.index("def chances(")
    moved = text[start : text.index("def _of_one_head(")]
    samplers.write_text(text.replace(moved, ""))
    batches.write_text(f"{batches.read_text()}\n\n{moved}")
    assert set(code_of(checkout)) == set(before)
    edit(batches, "drawn / drawn.sum()", "drawn / drawn.max()")
    assert {entry.split()[0] for entry in set(code_of(checkout)) ^ set(before)} == {"chances"}


def test_what_is_imported_from_others_counts(checkout: Path) -> None:
    before = code_of(checkout)
    edit(checkout / "trainables/losses.py", "import torch.nn.functional as F", "import torch.nn.quantized.functional as F")
    assert set(code_of(checkout)) - set(before)
