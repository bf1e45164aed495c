"""A trial is trained again from the ledger alone; what was changed meanwhile is the ingredient that is named first."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from competitions.competition import Competition
from competitions.loading import parse_competition
from competitions.prepare import Prepared, prepare
from ledger.reproducibility import promise, tolerance
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import ALL_DATA, TrialFolder
from system.errors import UserError
from system.files import read_lines, replace_json
from system.paths import CompetitionPaths
from tests.conftest import TINY
from trainables.attach import attach, start_of
from trainables.config import TrialConfig
from trainables.reproduce import retrain as module
from trainables.reproduce.ingredients import of_sessions
from trainables.reproduce.retrain import reproduce
from trainables.reproduce.verdict import Verdict
from trainables.training import TrialRun, run_trial

Configure = Callable[..., TrialConfig]


@dataclass(frozen=True)
class Storage:
    """A ledger of a test's own, on photos that may be changed."""

    data: Path
    prepared: Prepared

    @property
    def paths(self) -> CompetitionPaths:
        return self.prepared.paths

    def train(self, config: TrialConfig, epochs: int | None = None) -> TrialFolder:
        run = TrialRun(config, attach(self.prepared, config))
        while run.record.epochs_done < (epochs or config.epochs) and not run.record.ended:
            run.step()
        return run.folder

    def again(self, trial: str | TrialFolder, competition: Competition | None = None, **more: Any) -> Verdict:
        name = trial if isinstance(trial, str) else trial.id
        return reproduce(competition or self.prepared.competition, self.paths, name, **more)

    def files(self) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in self.paths.root.rglob("*") if "cache" not in path.parts}

    def change(self, photo: str, **values: str) -> None:
        """Change a row of the table."""
        table = self.data / "tiny/manifest.csv"
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row.update(values if row["image"] == photo else {})
        with open(table, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


@pytest.fixture
def storage(tiny_data: Path, tiny_competition: Competition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    shutil.copytree(tiny_data, tmp_path / "data")
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("PODIUM_CACHE", raising=False)
    prepared = prepare(tiny_competition, CompetitionPaths(tmp_path / "storage/tiny"))
    prepared.save()
    return Storage(tmp_path / "data", prepared)


def names(verdict: Verdict) -> list[str]:
    return [part.ingredient for part in verdict.ingredients]


@pytest.mark.parametrize("target", ["colour", "both", "label", "shape@red"])
def test_a_trial_of_any_target_passes_with_equal_bits(target: str, storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure(target))
    before = storage.files()
    verdict = storage.again(folder)
    assert (verdict.verdict, verdict.equal_bits, verdict.promised, names(verdict)) == ("PASS", True, "bits", [])
    assert verdict.score_then == verdict.score_now is not None
    assert storage.files() == before, "something was written beside the folder of its own"


def test_unfinished_diverged_and_unjudged_trials_are_trained_as_far_as_they_got(storage: Storage, configure: Configure) -> None:
    unfinished = storage.train(configure(epochs=4), epochs=2)
    diverged = storage.train(configure(epochs=2, lr=100.0, optimizer="sgd", backbone="test_efficientnet", seed=1))
    on_all = storage.train(replace(configure(), fold=ALL_DATA))
    assert (told := diverged.record()) is not None
    assert told.diverged
    for folder, epochs in ((unfinished, 2), (diverged, None), (on_all, 2)):
        record = folder.record()
        assert record is not None
        verdict = storage.again(folder)
        assert (verdict.verdict, verdict.equal_bits) == ("PASS", True), verdict.reason
        assert verdict.epochs == (epochs or record.epochs_done)
        assert verdict.score_then == record.score
    halfway = storage.train(replace(configure(epochs=3), fold=ALL_DATA), epochs=1)
    assert storage.again(halfway).verdict == "PASS"
    lines = read_lines(halfway.path / "metrics.jsonl")
    halfway.write_metrics([line | {"loss": line["loss"] + 1} for line in lines])
    assert storage.again(halfway).verdict == "DIFFERS"


def test_a_record_that_says_something_else_differs(storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure())
    record = folder.record()
    assert record is not None
    folder.write_record(replace(record, curve=[record.curve[0], record.curve[1] + 0.5], score=record.curve[1] + 0.5))
    verdict = storage.again(folder)
    assert (verdict.verdict, names(verdict)) == ("DIFFERS", [])
    assert "part at epoch 2" in verdict.reason


def _pixels(storage: Storage) -> None:
    path = storage.data / "tiny/g01-2.png"
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


DATA: dict[str, tuple[Callable[[Storage], object], tuple[tuple[str, str], ...], str]] = {
    "pixels": (_pixels, (), "data"),
    "label": (lambda storage: storage.change("g01-2", colour="red"), (), "data"),
    "label of another task": (lambda storage: storage.change("g01-2", shape="square"), (), "data"),
    "split seed": (lambda storage: None, (("folds: 4, seed: 0", "folds: 4, seed: 3"),), "split"),
    "folds": (lambda storage: None, (("folds: 4", "folds: 3"),), "split"),
    "split name": (lambda storage: None, (("name: groups, folds: 4", "name: persons, folds: 4"),), "split"),
}


@pytest.mark.parametrize("name", DATA)
def test_changed_data_and_splits_are_named_and_nothing_is_trained(name: str, storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure("both"))
    change, edits, first = DATA[name]
    change(storage)
    text = TINY
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    verdict = storage.again(folder, parse_competition(text, "tiny", where="here"))
    assert (verdict.verdict, verdict.score_now, names(verdict)) == ("DIFFERS", None, [first])
    part = verdict.ingredients[0]
    if first == "data":
        assert list(part.then["changed"]) == list(part.now["changed"]) == ["g01-2"]
        (key,) = part.then["changed"]["g01-2"]
        assert key == {"pixels": "pixels", "label": "colour"}.get(name, "shape")
    if name == "split seed":
        assert (part.then["seed"], part.now["seed"]) == (0, 3)
        assert part.now["n_moved"] > 0


def test_without_the_preparation_it_learned_from_photos_cannot_be_named(storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure())
    shutil.rmtree(storage.paths.data / "prepared")
    _pixels(storage)
    (part,) = storage.again(folder, check=True).ingredients
    assert part.ingredient == "data"
    assert "not kept" in part.then["note"]


def _session(change: Callable[[dict[str, Any]], object]) -> Callable[[TrialFolder], None]:
    def plant(folder: TrialFolder) -> None:
        sessions = folder.provenance()
        change(sessions[-1])
        replace_json(folder.path / "provenance.json", {"sessions": sessions})

    return plant


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("harm", [_cut, Path.unlink, lambda path: replace_json(path, {"sessions": ["torch"]})])
def test_damaged_provenance_is_named_and_read_from_the_checkpoint(
    harm: Callable[[Path], object], storage: Storage, configure: Configure
) -> None:
    folder = storage.train(configure(epochs=1))
    _session(lambda session: session["packages"].update(torch="1.0.0"))(folder)  # what the damaged file says is not believed
    harm(folder.path / "provenance.json")
    checked, verdict = storage.again(folder, check=True), storage.again(folder)
    assert names(checked) == names(verdict) == ["provenance"]
    (part,) = verdict.ingredients
    assert part.then.startswith("provenance.json ")
    assert "read from last.safetensors" in part.now
    assert (verdict.verdict, verdict.equal_bits, verdict.promised) == ("PASS", True, "bits")


@pytest.mark.parametrize("harm", [_cut, Path.unlink])
def test_where_nobody_knows_what_a_trial_was_made_of_no_ingredient_is_blamed(
    harm: Callable[[Path], object], storage: Storage, configure: Configure
) -> None:
    folder = storage.train(configure(epochs=1))
    harm(folder.path / "provenance.json")
    folder.last.write_bytes(b"")
    _pixels(storage)
    first, data = storage.again(folder, check=True).ingredients
    assert (first.ingredient, data.ingredient) == ("provenance", "data"), "what can be compared still is"
    assert "code, packages, threads and hardware cannot be compared" in first.now
    _pixels(storage)
    verdict = storage.again(folder)
    assert (verdict.verdict, verdict.equal_bits, verdict.promised, names(verdict)) == ("PASS", True, "tolerance", ["provenance"])
    assert "machines" not in verdict.reason
    assert "not known" in verdict.reason


def test_a_lost_or_damaged_file_of_the_trial_is_the_one_that_is_named(storage: Storage, configure: Configure) -> None:
    folder, other = storage.train(configure(epochs=1)), storage.train(configure(epochs=1, seed=1))
    whole = {name: (folder.path / name).read_bytes() for name in ("config.json", "record.json")}
    other_record = (other.path / "record.json").read_bytes()
    cases: tuple[tuple[str, bytes | None, str], ...] = (
        ("config.json", None, "config.json is missing"),
        ("config.json", b"{", "config.json is not readable JSON"),
        ("config.json", b"[]", "config.json is damaged"),
        ("record.json", None, "has no record, though last.safetensors tells of 1 epochs"),
        ("record.json", b"{", "record.json is not readable JSON"),
        ("record.json", b"{}", "record.json is damaged"),
        ("record.json", other_record, f"record.json is damaged: it is of trial {other.id}"),
    )
    for name, content, message in cases:
        (folder.path / name).write_bytes(content) if content is not None else (folder.path / name).unlink()
        with pytest.raises(UserError, match=message):
            storage.again(folder)
        (folder.path / name).write_bytes(whole[name])
    assert storage.again(folder).verdict == "PASS"


def test_lost_losses_of_a_trial_that_nobody_judges_are_read_from_the_checkpoint_or_named(
    storage: Storage, configure: Configure
) -> None:
    folder = storage.train(replace(configure(epochs=2), fold=ALL_DATA))
    metrics = folder.path / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    for content in (lines[0], b"{" + metrics.read_bytes()):
        metrics.write_bytes(content)
        verdict = storage.again(folder)
        assert (verdict.verdict, verdict.equal_bits) == ("PASS", True), verdict.reason
    folder.last.write_bytes(b"")
    verdict = storage.again(folder)
    assert (verdict.verdict, verdict.equal_bits) == ("PASS", True), verdict.reason
    assert "metrics.jsonl" in verdict.reason
    halfway = storage.train(replace(configure(epochs=3), fold=ALL_DATA), epochs=1)
    halfway.last.write_bytes(b"")
    (halfway.path / "metrics.jsonl").write_bytes(b"{\n")
    with pytest.raises(UserError, match=r"its losses cannot be read \(metrics\.jsonl"):
        storage.again(halfway)


@pytest.mark.parametrize("content", [b"{", b'{"manifest": {}}'])
def test_a_damaged_preparation_is_not_called_one_that_was_never_kept(
    content: bytes, storage: Storage, configure: Configure
) -> None:
    folder = storage.train(configure(epochs=1))
    (kept,) = (storage.paths.data / "prepared").glob("*.json")
    kept.write_bytes(content)
    _pixels(storage)
    (part,) = storage.again(folder, check=True).ingredients
    assert part.ingredient == "data"
    assert f"data/prepared/{kept.name} is damaged" in part.then["note"]


DIFF = "diff --git a/{0} b/{0}\nindex 1..2\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-a\n+b"
PLANTED: dict[str, tuple[Callable[[dict[str, Any]], object], list[str], str]] = {
    "diff": (
        lambda session: session.update(diff=f"{session['diff']}\n{DIFF.format('trainables/start/initial_weights.py')}"),
        ["code"],
        "bits",
    ),
    "new file": (lambda session: session["new_files"].update({"trainables/own.py": "ab" * 32}), ["code"], "bits"),
    "unknown commit": (lambda session: session.update(commit="0" * 40), ["code"], "bits"),
    "diff of docs and tests": (
        lambda session: session.update(diff=f"{session['diff']}\n{DIFF.format('tests/test_imports.py')}"),
        [],
        "bits",
    ),
    "torch": (lambda session: session["packages"].update(torch="1.0.0"), ["package"], "tolerance"),
    "python": (lambda session: session.update(python="3.8.1"), ["package"], "tolerance"),
    "ray, which schedules": (lambda session: session["packages"].update(ray="1.0.0"), [], "bits"),
    "threads": (lambda session: session.update(threads=64), ["threads"], "tolerance"),
    "processor": (lambda session: session["hardware"].update(processor="6502"), ["hardware"], "tolerance"),
    "gpu": (lambda session: session.update(device="cuda"), ["hardware"], "tolerance"),
    "all": (
        lambda session: (session["packages"].update(timm="0.1"), session.update(threads=9, commit="0" * 40)),
        ["code", "package", "threads"],
        "tolerance",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_named_and_training_decides(name: str, storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure(epochs=1))
    change, expected, promised = PLANTED[name]
    _session(change)(folder)
    checked, verdict = storage.again(folder, check=True), storage.again(folder)
    assert names(checked) == names(verdict) == expected
    assert (checked.verdict, checked.score_now) == ("DIFFERS" if expected else "SAME", None)
    assert (verdict.verdict, verdict.equal_bits, verdict.promised) == ("PASS", True, promised)


@pytest.mark.parametrize(
    "files", [[], ["system/files.py"], ["docs/a.py", "system/files.py", "trainables/start/initial_weights.py"]], ids=len
)
def test_the_files_that_differ_from_a_clean_tree_are_named(files: list[str], configure: Configure) -> None:
    clean = {"commit": None, "diff": "", "new_files": {}, "packages": {}, "hardware": {}, "threads": 1}
    changed = {**clean, "diff": "\n".join(DIFF.format(name) for name in files)}
    for then, now in ((clean, changed), (changed, clean)):
        found = of_sessions([then], now, configure())["code"]
        assert [list(part.then["files"]) for part in found] == ([files[-2:]] if files else [])


def test_of_several_sessions_those_that_differ_are_numbered(storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure(epochs=2), epochs=1)
    _session(lambda session: session["packages"].update(torch="1.0.0"))(folder)
    storage.train(configure(epochs=2))
    assert len(folder.provenance()) == 2
    (part,) = storage.again(folder, check=True).ingredients
    assert (part.ingredient, part.sessions, part.then) == ("package", (1,), {"torch": "1.0.0"})


@pytest.mark.parametrize("setting", ["seed", "threads", "lr"])
def test_a_config_that_is_not_what_its_name_stands_for_is_told_by_the_setting(
    setting: str, storage: Storage, configure: Configure
) -> None:
    config = configure(epochs=1)
    folder = storage.train(config)
    study = StudyFolder(storage.paths.studies / "smoke")
    study.write_plan({})
    study.write_suggestion(Suggestion(1, "colour", folder.id, {}, settings=config.json()))
    replace_json(folder.path / "config.json", {**config.json(), setting: 2})
    (part, *_) = (
        part for part in storage.again(folder, check=True).ingredients if part.ingredient != "threads" or setting == "threads"
    )
    assert part.ingredient == ("settings" if setting == "lr" else setting)


def test_with_other_threads_the_tolerance_applies(storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure(epochs=1))
    verdict = storage.again(folder, threads=2)
    torch.set_num_threads(1)
    assert (verdict.promised, verdict.equal_bits, names(verdict)) == ("tolerance", False, ["threads"])
    assert verdict.tolerance == tolerance(len(storage.prepared.folds.fold[storage.prepared.folds.fold == 0]))
    assert verdict.score_now is not None
    assert verdict.score_then is not None
    within = abs(verdict.score_now - verdict.score_then) <= verdict.tolerance
    assert (verdict.verdict == "PASS") == within


def test_bits_are_promised_on_one_kind_of_cpu_only() -> None:
    one = {"packages": {"torch": "1", "ray": "2"}, "hardware": {"machine": "x", "gpu": None}, "device": "cpu", "threads": 1}
    assert promise([one], [one]) == promise([one], [{**one, "packages": {"torch": "1", "ray": "9"}}]) == "bits"
    others = ({"threads": 2}, {"device": "cuda"}, {"hardware": {"machine": "y"}}, {"packages": {"torch": "2"}})
    for other in others:
        assert promise([one], [{**one, **other}]) == promise([{**one, **other}, one], [one]) == "tolerance", other
    assert promise([], [one]) == "tolerance"
    assert promise([{**one, "device": "cuda"}], [{**one, "device": "cuda"}]) == "tolerance"


def test_check_trains_nothing(storage: Storage, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = storage.train(configure(epochs=1))
    monkeypatch.setattr(module, "_train", lambda *_: pytest.fail("it trained"))
    assert storage.again(folder, check=True).verdict == "SAME"


def test_an_interrupt_leaves_nothing_behind_and_a_killed_run_is_cleared_away(storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure(epochs=2))
    before = set(storage.files())
    (storage.paths.root / "reproduced/0123-killed").mkdir(parents=True)
    (storage.paths.root / "reproduced/0123-killed/last.safetensors").write_bytes(b"half")

    def interrupt(done: int, total: int) -> None:
        assert list((storage.paths.root / "reproduced").glob(f"{folder.id}-*/{folder.id}/last.safetensors"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.again(folder, training=interrupt)
    assert set(storage.files()) == before


def test_start_weights_come_from_the_kept_store_and_their_absence_is_told(storage: Storage, configure: Configure) -> None:
    source = storage.train(configure(epochs=1))
    store = storage.paths.data / "weights"
    backbone, weights = start_of(source, store)
    folder = storage.train(replace(configure("shape", epochs=1), backbone=backbone, weights=weights))
    shutil.rmtree(source.path)
    assert storage.again(folder).verdict == "PASS"
    (kept,) = store.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="are damaged"):
        storage.again(folder)
    kept.unlink()
    with pytest.raises(UserError, match="are not in this storage"):
        storage.again(folder)


def test_what_cannot_be_reproduced_is_told(storage: Storage, configure: Configure) -> None:
    folder = storage.train(configure("shape@red", epochs=1))
    with pytest.raises(UserError, match=f"unknown trial '{folder.id[:-1]}'; did you mean {folder.id}"):
        storage.again(folder.id[:-1])
    without = parse_competition(TINY.replace("shape@red", "shape@crimson"), "tiny", where="here")
    with pytest.raises(UserError, match="unknown target 'shape@red'; did you mean"):
        storage.again(folder, without)
    with pytest.raises(UserError, match="threads must be 1 or more, got 0"):
        storage.again(folder, threads=0)
    record = folder.path / "record.json"
    record.rename(record.with_suffix(".away"))
    with pytest.raises(UserError, match="has no record"):
        storage.again(folder)
    record.write_bytes(b"{")
    with pytest.raises(UserError, match="cannot be read"):
        storage.again(folder)
    record.with_suffix(".away").rename(record)
    shutil.rmtree(storage.data / "tiny")
    with pytest.raises(UserError, match="PODIUM_DATA"):
        storage.again(folder)


def test_the_trial_itself_is_never_touched_while_it_is_trained_again(storage: Storage, configure: Configure) -> None:
    config = configure(epochs=1)
    folder = storage.train(config)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    storage.again(folder)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    assert run_trial(config, attach(storage.prepared, config)) == folder.record()
