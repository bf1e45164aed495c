"""Whoever merges first, and how often: everybody ends with the same ledger, and nothing that somebody learned is lost."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ledger.merge.discovery import find_ledgers
from ledger.merge.ledgers import merge
from ledger.predictions import Predictions, predictions_of
from ledger.query import leaderboard
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import ALL_DATA, Record, TrialFolder
from system.checksums import sealed, unsealed
from system.claims import claim
from system.errors import UserError
from system.files import append_line, fingerprint, replace_json
from system.paths import CompetitionPaths
from system.sealed_tensors import UNSEALED, seal

ROOT = Path(__file__).parents[2]
PHOTOS = (("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"))


@dataclass(frozen=True)
class Run:
    """One trial as somebody trained it, and what is left of its files."""

    trial: str = "t0"
    curve: tuple[float, ...] = (0.1, 0.2)
    planned: int = 3
    diverged: bool = False
    machine: str = "cpu-a"
    author: str = "jin"
    fold: int = 0
    best: bool = True
    last: bool = True
    views: tuple[str, ...] = ("identity",)
    photos: int = 4

    @property
    def weights(self) -> bytes:
        """What was best does not depend on what came after it."""
        until = self.curve[: self.curve.index(max(self.curve)) + 1] if self.curve else ()
        return f"weights {self.trial} {until} {self.machine}".encode()

    @property
    def record(self) -> Record:
        judged, done = self.fold != ALL_DATA, len(self.curve) + self.diverged
        known = judged and bool(self.curve)
        return Record(
            trial_id=self.trial,
            config_id="c",
            target="age",
            fold=self.fold,
            seed=0,
            epochs_planned=self.planned,
            epochs_done=done,
            score=max(self.curve) if known and not self.diverged else None,
            best_epoch=self.curve.index(max(self.curve)) + 1 if known else None,
            curve=list(self.curve) if judged else [],
            diverged=self.diverged,
            weights=hashlib.sha256(self.weights).hexdigest() if known or done == self.planned else None,
            seconds=float(len(self.author)),
            author=self.author,
            host=f"{self.author}s-host",
        )

    @property
    def metrics(self) -> list[dict[str, Any]]:
        lines = [{"epoch": n, "loss": score} for n, score in enumerate(self.curve, start=1)]
        return lines + ([{"epoch": len(lines) + 1, "loss": None}] if self.diverged else [])

    def write(self, paths: CompetitionPaths) -> TrialFolder:
        folder, record = TrialFolder(paths.trials / self.trial), self.record
        config = {"competition": paths.root.name, "target": "age", "fold": self.fold, "seed": 0, "epochs": self.planned}
        folder.write_config({**config, "precision": "fp32", "split": "s"})
        kind = {"machine": "x86_64", "processor": self.machine, "gpu": None}
        session = {"packages": {"torch": "1"}, "hardware": kind, "device": "cpu", "threads": 1, "author": self.author}
        folder.add_provenance(session)
        if not record.epochs_done:
            return folder
        if record.weights and self.best:
            folder.best.write_bytes(self.weights)
        if self.last:
            write_last(folder, record, self.metrics)
        folder.write_metrics(self.metrics)
        folder.write_record(record)
        if record.weights:
            for view in self.views:
                kept = predictions_of(folder.predictions, record.weights)
                kept.write("validation", "age", view, PHOTOS[: self.photos], probs(f"{view} {self.machine}", self.photos))
        for epoch in range(1, len(self.curve) + 1):
            kept = Predictions(folder.predictions / "epochs")
            kept.write("validation", "age", f"epoch{epoch:04d}", PHOTOS, probs(f"{self.curve[:epoch]}", 4))
        return folder


def probs(seed: str, n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(list(seed.encode())).random((n, 2)).astype(np.float16)


def write_last(folder: TrialFolder, record: Record, metrics: Sequence[Mapping[str, Any]]) -> None:
    """A safetensors file of one tensor, by its format."""
    from dataclasses import asdict

    state = {"trial_id": folder.id, "record": asdict(record), "metrics": metrics, "epoch": record.epochs_done}
    told = json.dumps({**state, "seal": UNSEALED})
    facts = {"__metadata__": {"podium": told}, "x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}
    header = json.dumps(facts).encode()
    folder.last.write_bytes(seal(len(header).to_bytes(8, "little") + header + b"abcd"))


def study(paths: CompetitionPaths, name: str, events: Sequence[str], *, author: str = "jin", trials: int = 4) -> StudyFolder:
    """A study that had these events."""
    folder = StudyFolder(paths.studies / name)
    request = {"competition": paths.root.name, "seed": 0, "trials": trials}
    asked = {"request": request, "space": "s", "questions": {}, "made_of": {"author": author, "host": "h"}}
    folder.write_plan(asked)
    for number, event in enumerate(events, start=1):
        folder.write_suggestion(Suggestion(number, "age", event, {"lr": number}))
        append_line(folder.path / "events.jsonl", {"event": "started", "time": 1.0, "trial_id": event})
    return folder


def ledger(root: Path, *runs: Run, studies: Mapping[str, Sequence[str]] | None = None) -> CompetitionPaths:
    paths = CompetitionPaths(root / "clothing")
    paths.trials.mkdir(parents=True, exist_ok=True)
    for run in runs:
        run.write(paths)
    for name, events in (studies or {}).items():
        study(paths, name, events)
    return paths


def contents(paths: CompetitionPaths) -> dict[str, bytes]:
    """Every file of the ledger by its path."""
    return {path.relative_to(paths.root).as_posix(): path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}


def copy(paths: CompetitionPaths, to: Path) -> CompetitionPaths:
    shutil.copytree(paths.root, to / "clothing")
    return CompetitionPaths(to / "clothing")


def merged(paths: CompetitionPaths, *others: CompetitionPaths) -> dict[str, Any]:
    return merge(paths, {f"other{n}": other for n, other in enumerate(others)}).json()


RUNS = st.builds(
    Run,
    trial=st.sampled_from(["t0", "t1"]),
    curve=st.lists(st.sampled_from([0.1, 0.2]), max_size=3).map(tuple),
    diverged=st.booleans(),
    machine=st.sampled_from(["cpu-a", "cpu-a", "cpu-b"]),
    author=st.sampled_from(["jin", "sora"]),
    fold=st.sampled_from([0, 0, ALL_DATA]),
    best=st.booleans(),
    last=st.booleans(),
    views=st.lists(st.sampled_from(["identity", "hflip"]), unique=True).map(tuple),
    photos=st.sampled_from([3, 4]),
).map(lambda run: replace(run, diverged=run.diverged and len(run.curve) < 3))
STUDIES = st.dictionaries(st.sampled_from(["smoke", "quick"]), st.lists(st.sampled_from("xy"), max_size=3), max_size=2)
LEDGERS = st.tuples(st.lists(RUNS, max_size=2, unique_by=lambda run: run.trial), STUDIES)


@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.tuples(LEDGERS, LEDGERS, LEDGERS))
def test_a_merge_is_commutative_associative_and_idempotent(three: tuple[Any, Any, Any]) -> None:
    with TemporaryDirectory() as place:
        root = Path(place)
        a, b, c = (
            ledger(root / name, *(replace(run, fold=fold) for run, fold in ((run, 0 if run.trial == "t0" else ALL_DATA) for run in runs)),
                   studies=studies)
            for name, (runs, studies) in zip("abc", three, strict=True)
        )  # fmt: skip
        before = [contents(one) for one in (a, b, c)]
        ab, ba, bc = copy(a, root / "ab"), copy(b, root / "ba"), copy(b, root / "bc")
        merged(ab, b)
        merged(ba, a)
        assert contents(ab) == contents(ba), "not commutative"
        once = contents(ab)
        report = merged(ab, b)
        assert contents(ab) == once, "not idempotent"
        assert not any(report[kind] for kind in ("new_trials", "longer", "predictions", "studies"))
        merged(bc, c)
        left, right = copy(ab, root / "left"), copy(a, root / "right")
        merged(left, c)
        merged(right, bc)
        assert contents(left) == contents(right), "not associative"
        assert [contents(one) for one in (a, b, c)] == before, "another's ledger was written to"


def test_trials_come_with_all_their_files_and_say_who_ran_them(tmp_path: Path) -> None:
    ours = ledger(tmp_path / "ours", Run("t0"))
    theirs = ledger(tmp_path / "theirs", Run("t1", (0.1, 0.3, 0.2), author="sora", views=("identity", "hflip")))
    report = merged(ours, theirs)
    brought, given_ = (contents(one) for one in (ours, theirs))
    assert {name: data for name, data in brought.items() if name.startswith("trials/t1/")} == given_
    assert [(row.trial_id, row.score, row.author, row.host) for row in leaderboard(ours).rows] == [
        ("t1", 0.3, "sora", "soras-host"),
        ("t0", 0.2, "jin", "jins-host"),
    ]
    assert [trial["trial_id"] for trial in report["new_trials"]] == ["t1"]
    assert report["predictions"] == 2 + 3


@pytest.mark.parametrize("fold", [0, ALL_DATA])
def test_of_two_curves_where_one_begins_the_other_the_longer_stays(fold: int, tmp_path: Path) -> None:
    short = ledger(tmp_path / "short", Run(curve=(0.2, 0.1), fold=fold))
    long = ledger(tmp_path / "long", Run(curve=(0.2, 0.1, 0.3), fold=fold, author="sora"))
    report = merged(short, long)
    assert [(trial["trial_id"], trial["epochs_before"], trial["epochs"]) for trial in report["longer"]] == [("t0", 2, 3)]
    assert not report["conflicts"]
    record = TrialFolder(short.trials / "t0").record()
    assert record == Run(curve=(0.2, 0.1, 0.3), fold=fold, author="sora").record
    assert not (short.root / "conflicts").exists()
    assert merged(long, ledger(tmp_path / "again", Run(curve=(0.2, 0.1), fold=fold)))["already_there"] == 1


def test_trials_that_differ_on_one_kind_of_machine_are_both_kept_and_shown(tmp_path: Path) -> None:
    one, other = Run(curve=(0.1, 0.2)), Run(curve=(0.1, 0.3), author="sora")
    ours = ledger(tmp_path / "ours", one)
    (found,) = merged(ours, ledger(tmp_path / "theirs", other))["conflicts"]
    assert (found["promise"], found["first_epoch_that_differs"]) == ("bits", 2)
    assert {(told["author"], told["score"]) for told in found["versions"]} == {("jin", 0.2), ("sora", 0.3)}
    (beside,) = (ours.root / "conflicts/t0").iterdir()
    records = [TrialFolder(place).record() for place in (ours.trials / "t0", beside)]
    assert sorted(records, key=lambda record: record.author if record else "") == [one.record, other.record]
    for place in (ours.trials / "t0", beside):
        record = TrialFolder(place).record()
        assert record is not None
        assert hashlib.sha256(TrialFolder(place).best.read_bytes()).hexdigest() == record.weights
        assert predictions_of(place / "predictions", record.weights or "").ids("validation") == ("a", "b", "c", "d")


@pytest.mark.parametrize(("score", "kind"), [(0.44, "alike"), (0.46, "conflicts")])
def test_between_kinds_of_machine_a_difference_is_a_conflict_beyond_the_tolerance(
    score: float, kind: str, tmp_path: Path
) -> None:
    """0.5 / sqrt(4 photos) = 0.25."""
    ours = ledger(tmp_path / "ours", Run(curve=(0.1, 0.2)))
    report = merged(ours, ledger(tmp_path / "theirs", Run(curve=(0.1, score), machine="cpu-b")))
    assert [(found["trial_id"], found["tolerance"]) for found in report[kind]] == [("t0", 0.25)]
    assert len(report["conflicts"]) + len(report["alike"]) == 1


def test_predictions_of_equal_trials_are_united(tmp_path: Path) -> None:
    ours = ledger(tmp_path / "ours", Run(views=("identity",), best=False))
    report = merged(ours, ledger(tmp_path / "theirs", Run(views=("hflip",))))
    folder = TrialFolder(ours.trials / "t0")
    kept = predictions_of(folder.predictions, Run().record.weights or "")
    assert kept.missing("validation", ["age"], ["identity", "hflip"], PHOTOS) == []
    assert folder.best.read_bytes() == Run().weights
    assert (report["already_there"], report["predictions"]) == (1, 1)


def test_weights_that_one_ledger_dropped_stay_in_the_other_and_come_back_from_it(tmp_path: Path) -> None:
    for name, mine, theirs in (("dropped there", True, False), ("dropped here", False, True)):
        ours = ledger(tmp_path / name / "ours", Run(best=mine, last=mine))
        merged(ours, ledger(tmp_path / name / "theirs", Run(best=theirs, last=theirs)))
        folder = TrialFolder(ours.trials / "t0")
        assert folder.best.read_bytes() == Run().weights, name
        assert folder.last.is_file(), name


def test_a_study_that_went_on_elsewhere_goes_on_here(tmp_path: Path) -> None:
    ours = ledger(tmp_path / "ours", studies={"smoke": "xy", "mine": "x"})
    theirs = ledger(tmp_path / "theirs", studies={"smoke": "xyx", "hers": "y"})
    report = merged(ours, theirs)
    assert {path.name for path in ours.studies.iterdir()} == {"smoke", "mine", "hers"}
    assert contents(ours)["studies/smoke/events.jsonl"] == contents(theirs)["studies/smoke/events.jsonl"]
    assert len(StudyFolder(ours.studies / "smoke").suggestions()) == 3
    assert {(told["study"], told["what"]) for told in report["studies"]} == {("smoke", "longer"), ("hers", "new")}


def test_two_studies_of_one_name_are_both_renamed_and_grow_under_their_names(tmp_path: Path) -> None:
    ours, theirs = (ledger(tmp_path / name) for name in ("ours", "theirs"))
    study(ours, "smoke", "xx")
    study(theirs, "smoke", "yy", author="So Ra")
    report = merged(ours, theirs)
    names = {path.name for path in ours.studies.iterdir()}
    assert {name.rpartition("-")[0] for name in names} == {"smoke@jin", "smoke@So-Ra"}
    assert {(told["was"], told["what"]) for told in report["studies"]} == {("smoke", "new"), ("smoke", "renamed")}
    shutil.rmtree(theirs.studies)
    study(theirs, "smoke", "yyx", author="So Ra")
    merged(ours, theirs)
    assert {path.name for path in ours.studies.iterdir()} == names
    assert sorted(len(StudyFolder(path).events()) for path in ours.studies.iterdir()) == [2, 3]


def test_weights_and_preparations_come_along_and_image_caches_do_not(tmp_path: Path) -> None:
    ours, theirs = ledger(tmp_path / "ours"), ledger(tmp_path / "theirs")
    name, key = hashlib.sha256(b"start").hexdigest(), fingerprint({"fold": [0, 1]})
    files = {f"weights/{name}.safetensors": b"start", f"weights/{'0' * 64}.pt": b"other bytes", "cache/a.u8": b"pixels"}
    for place, data in files.items():
        (theirs.data / place).parent.mkdir(parents=True, exist_ok=True)
        (theirs.data / place).write_bytes(data)
    replace_json(theirs.data / "prepared" / f"{key}.json", {"fold": [0, 1]})
    replace_json(theirs.data / "prepared" / "0123456789abcdef.json", {"fold": [0, 2]})
    report = merged(ours, theirs)
    assert set(contents(ours)) == {f"data/weights/{name}.safetensors", f"data/prepared/{key}.json"}
    assert (report["weights"], report["prepared"]) == (1, 1)
    assert {found["file"] for found in report["damaged"]} == {
        f"data/weights/{'0' * 64}.pt",
        "data/prepared/0123456789abcdef.json",
    }


DAMAGES = {
    "config": ("config.json", lambda data: data[:9], "config.json"),
    "record": ("record.json", lambda data: data[: len(data) // 2], "record.json"),
    "record of another": ("record.json", lambda data: sealed({**unsealed(data), "trial_id": "t9"}, indent=1), "t9"),
    "last": ("last.safetensors", lambda data: data[:-1], "last.safetensors is cut short"),
    "tensors of last": ("last.safetensors", lambda data: data[:-1] + b"?", "not what was sealed"),
    "best": ("best.safetensors", lambda data: data[:-1] + b"?", "not those of the record's weights"),
    "array": ("predictions/*/validation.age.hflip.npy", lambda data: data[:-2], "hflip"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_there_is_named_and_copied_over_nothing(name: str, tmp_path: Path) -> None:
    file, spoil, told = DAMAGES[name]
    run = Run(views=("identity", "hflip"))
    ours, theirs, fresh = ledger(tmp_path / "ours", run), ledger(tmp_path / "theirs", run), ledger(tmp_path / "fresh")
    (path,) = (theirs.trials / "t0").glob(file)
    path.write_bytes(spoil(path.read_bytes()))
    if name != "config":
        (theirs.trials / "t0/last.safetensors").unlink() if "record" in name else None
    before = contents(ours)
    merged(ours, theirs)
    assert contents(ours) == before
    (found,) = merged(fresh, theirs)["damaged"]
    assert told in found["why"] + found["file"]
    assert found["where"] == "other0"
    spoiled = f"trials/t0/{path.relative_to(theirs.trials / 't0').as_posix()}"
    assert spoiled not in contents(fresh) or contents(fresh)[spoiled] == before[spoiled]


def test_a_record_that_is_cut_short_is_healed_from_last(tmp_path: Path) -> None:
    ours, theirs = ledger(tmp_path / "ours"), ledger(tmp_path / "theirs", Run())
    (theirs.trials / "t0/record.json").write_bytes(b"{")
    (found,) = merged(ours, theirs)["damaged"]
    assert found["file"] == "trials/t0"
    assert TrialFolder(ours.trials / "t0").record() == Run().record


def test_ours_that_is_damaged_is_kept_beside(tmp_path: Path) -> None:
    ours, theirs = ledger(tmp_path / "ours", Run(last=False)), ledger(tmp_path / "theirs", Run())
    (ours.trials / "t0/record.json").write_bytes(b"{")
    (found,) = merged(ours, theirs)["damaged"]
    assert found["where"] == "here"
    assert TrialFolder(ours.trials / "t0").record() == Run().record
    (beside,) = (ours.root / "conflicts/t0").glob("damaged-*")
    assert (beside / "record.json").read_bytes() == b"{"


def test_what_runs_here_or_there_is_left_out(tmp_path: Path) -> None:
    ours, theirs = ledger(tmp_path / "ours", Run("t0", (0.1,))), ledger(tmp_path / "theirs", Run("t0"), Run("t1"))
    study(theirs, "smoke", "x")
    before = contents(ours)
    with (
        claim(theirs.trials / "t0/claim.json") or pytest.fail("held"),
        claim(theirs.studies / "smoke/lease.json") or pytest.fail("held"),
    ):
        report = merged(ours, theirs)
    assert {(found.get("trial"), found.get("study")) for found in report["running"]} == {("t0", None), (None, "smoke")}
    assert [trial["trial_id"] for trial in report["new_trials"]] == ["t1"]
    with claim(ours.trials / "t0/claim.json") or pytest.fail("held"):
        report = merged(ours, theirs)
    assert [(found["trial"], found["why"]) for found in report["running"]] == [("t0", "is being trained here")]
    assert {name: contents(ours)[name] for name in before} == before
    assert [trial["trial_id"] for trial in merged(ours, theirs)["longer"]] == ["t0"]


MERGER = """
import os, signal, sys
from pathlib import Path
from ledger.merge.ledgers import merge
from system.paths import CompetitionPaths

left = int(sys.argv[3])

def watch(event, arguments):
    global left
    left -= event == "os.rename"
    if left == 0:
        left = -1  # to kill is an event as well
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
merge(CompetitionPaths(Path(sys.argv[1])), {"other": CompetitionPaths(Path(sys.argv[2]))})
"""


def test_a_merge_that_is_killed_leaves_a_ledger_and_is_completed_by_the_next(tmp_path: Path) -> None:
    runs = [Run(f"t{n}", (0.1, 0.2)) for n in range(6)]
    ours = ledger(tmp_path / "ours", *runs[:4], studies={"smoke": "xy"})
    more = [Run("t0", (0.1, 0.2, 0.3)), Run("t1", (0.1, 0.1, 0.1)), Run("t2", (0.1,)), *runs[4:]]
    theirs = ledger(tmp_path / "theirs", *more, studies={"smoke": "yx"})
    whole = copy(ours, tmp_path / "whole")
    merged(whole, theirs)
    known = {
        trial: {Run(trial, run.curve).record.weights for run in (*runs, *more) if run.trial == trial} for trial in ("t0", "t1")
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MERGER, str(ours.root), str(theirs.root)]
    codes = []
    for at_rename in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20):
        done = subprocess.run([*command, str(at_rename)], env=environment, stderr=subprocess.DEVNULL, check=False)
        codes.append(done.returncode)
        for row in leaderboard(ours).rows:
            record = TrialFolder(ours.trials / row.trial_id).record()
            assert record is not None
            assert record.weights in known.get(row.trial_id, {record.weights})
            assert hashlib.sha256(TrialFolder(ours.trials / row.trial_id).best.read_bytes()).hexdigest() == record.weights
    assert codes.count(-9) >= 4, codes
    assert set(codes) <= {-9, 0}, codes
    merged(ours, theirs)
    shutil.rmtree(ours.cache())  # the index of the questions above
    left = {name: data for name, data in contents(ours).items() if not name.endswith("claim.json")}
    assert left == contents(whole)


def test_every_wrong_other_is_named_at_once(tmp_path: Path) -> None:
    ours = ledger(tmp_path / "ours", Run())
    (tmp_path / "empty").mkdir()
    ledger(tmp_path / "named", Run())
    CompetitionPaths(tmp_path / "named/clothing").root.rename(tmp_path / "named/shoes")
    other = CompetitionPaths(tmp_path / "shoes/shoes")
    Run().write(other)
    with pytest.raises(UserError) as caught:
        find_ledgers(ours, [tmp_path / "nope", tmp_path / "empty", tmp_path / "ours", other.root, tmp_path / "shoes"])
    gone, empty, same, shoes, storage = caught.value.faults
    assert "which is not there" in gone
    assert "must hold trials/ or studies/" in empty
    assert "is this one" in same
    assert "is a ledger of shoes, not of clothing" in shoes
    assert "has no ledger of clothing" in storage
    assert "shoes" in storage
    assert find_ledgers(ours, [tmp_path / "named/shoes"])  # of this competition, whatever the folder is called
