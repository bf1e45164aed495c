"""`import_predictions.py` as people call it: what it prints, what it warns of, and what it refuses."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import import_predictions
from competitions.prepare import Prepared
from competitions.targets import targets
from ledger.trials import Record, TrialFolder
from system.paths import CompetitionPaths
from tests.conftest import TINY
from tests.verbs.conftest import ROOT, SECRET

COLOURS, SHAPES = ("red", "green", "blue"), ("disc", "square")
Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class ImportPlace:
    """Somebody's working folder, with the tiny competition's file and photos."""

    root: Path
    prepared: Prepared

    def photos(self, role: str) -> list[str]:
        return [self.prepared.manifest.image_ids[row] for row in self.prepared.manifest.rows(role)]

    def label(self, image_id: str) -> int:
        row = self.prepared.manifest.image_ids.index(image_id)
        colour, shape = (int(self.prepared.manifest.labels[task][row]) for task in ("colour", "shape"))
        return max(colour, 0) * 2 + max(shape, 0)

    def csv(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        with open(self.root / name, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return name

    def submission(self, name: str, ids: Sequence[str], wrong: int = 0) -> str:
        """Labels of photos, of which the first `wrong` are not the true ones."""
        return self.csv(name, ["image", "label"], [(i, (self.label(i) + 2 * (n < wrong)) % 6) for n, i in enumerate(ids)])

    def trial(self, target: str, score: float) -> str:
        """A finished trial of fold 1 that scored this."""
        folder = TrialFolder(CompetitionPaths(self.root / "storage/tiny").trials / "0123456789ab")
        asked = targets(self.prepared.competition)[target]
        settings = {"target": target, "data": self.prepared.data_fingerprint(asked), "metric": asked.metric, "fold": 1, "seed": 0}
        folder.write_config(settings)
        record = Record(
            folder.id, "c" * 12, target, 1, 0, 1, epochs_done=1, score=score, best_epoch=1, curve=[score], weights="w"
        )
        folder.write_record(record)
        return folder.id


@pytest.fixture
def place(tiny: Prepared, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImportPlace:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "PODIUM_DATA": tiny_data,
        "PODIUM_STORAGE": tmp_path / "storage",
        "PODIUM_CACHE": tiny.paths.data / "cache",
    }.items():
        monkeypatch.setenv(name, str(value))
    return ImportPlace(tmp_path, tiny)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the verb's own `main` in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["import_predictions.py", *map(str, arguments)])
        capsys.readouterr()
        code = import_predictions.main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_each_file_is_an_import_of_its_own_unless_they_have_one_name(run: Run, place: ImportPlace) -> None:
    test, train = place.photos("test"), place.photos("train")
    first = place.submission("first.csv", test)
    again = place.submission("again.csv", test[::-1])
    other = place.csv("other.csv", ["image_id", *COLOURS], [(i, 0.1, 0.2, 0.7) for i in train])
    code, out, err = run("tiny.yaml", first, again, other, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert [(one["name"], one["asked_name"], one["new"]) for one in told["imports"]] == [
        ("first", "first", True),
        ("first", "again", False),
        ("other", "other", True),
    ]
    assert [one["heads"] for one in told["imports"][::2]] == [
        {"label": {"kind": "labels", "classes": list(place.prepared.competition.label_classes), "photos": {"test": 12}}},
        {"colour": {"kind": "probabilities", "classes": list(COLOURS), "photos": {"validation": 80}}},
    ]
    code, out, err = run(
        "tiny.yaml", place.submission("val.csv", train), first, "--name", "both", "--note", "from Sora's notebook"
    )
    assert code == 0, err
    assert "both (" in out
    assert "label: labels, 80 validation photos, 12 test photos" in out
    assert "from val.csv, first.csv by" in out
    assert "from Sora's notebook" in out
    assert "the giver's word" in out
    listed = json.loads(run("tiny", "--list", "--json")[1])
    assert [one["name"] for one in listed["imports"]] == ["both", "first", "other"]
    assert str(place.root) not in json.dumps(listed)
    code, out, _ = run("tiny", "--drop", "both")
    assert (code, out) == (0, f"dropped import both ({listed['imports'][0]['id']})\n")
    assert "both" not in run("tiny.yaml", "--list")[1]


def test_scores_stand_beside_the_best_trials_on_the_photos_that_it_was_judged_on(run: Run, place: ImportPlace) -> None:
    trial, train = place.trial("colour", 0.5), place.photos("train")
    fold = place.prepared.folds.fold
    ids = [i for i in train if fold[place.prepared.manifest.image_ids.index(i)] in (0, 1)]
    wrong = [i for i in ids if fold[place.prepared.manifest.image_ids.index(i)] == 1][:6]
    rows = [(i, *(float(c == (place.label(i) // 2 + (i in wrong)) % 3) for c in range(3))) for i in ids]
    told = json.loads(run("tiny.yaml", place.csv("a.csv", ["image", *COLOURS], rows), "--json")[1])["imports"][0]
    found: dict[str, Any] = told["scores"]["colour"]
    usable = [i for i in ids if i not in place.prepared.broken]
    assert (found["photos"], found["accuracy"]) == (len(usable), pytest.approx(1 - 6 / len(usable)))
    best = found["best_trial"]
    assert (best["trial_id"], best["fold"], best["score"]) == (trial, 1, 0.5)
    assert best["same_photos"] < found["score"] < 1, "all that is wrong is in the trial's fold"
    assert told["warnings"] == []
    code, out, _ = run("tiny.yaml", "a.csv")
    assert code == 0
    assert f"{trial}" in out


@pytest.mark.parametrize(("score", "wrong", "warned"), [(0.5, 0, True), (0.97, 0, False), (0.5, 8, False)])
def test_a_file_that_is_right_about_everything_is_not_believed(
    run: Run, place: ImportPlace, score: float, wrong: int, warned: bool
) -> None:
    place.trial("colour", score)
    code, out, err = run("tiny.yaml", place.submission("a.csv", place.photos("train"), wrong))
    assert code == 0, err
    assert ("beware: a answers 100.0% of 79 photos of colour rightly" in out) == warned
    assert ("beware" in out) == warned


def test_a_wrong_request_is_refused_with_every_fault_and_keeps_nothing(run: Run, place: ImportPlace) -> None:
    cases: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
        (("tiny.yaml",), ("FILE is missing",)),
        (("tini", "a.csv"), ("unknown competition 'tini'",)),
        (
            ("tiny.yaml", "a.csv", "--list", "--name", "x"),
            ("FILE would have no effect with --list", "--name would have no effect"),
        ),
        (("tiny.yaml", "--drop", "x", "--replace"), ("--replace would have no effect with --drop",)),
        (("tiny.yaml", "--drop", "x"), ("unknown import 'x'",)),
        (("tiny.yaml", "none.csv", "nor.npz", "--task", "colour"), ("there is no file none.csv", "there is no file nor.npz")),
        (
            ("tiny.yaml", place.csv("b.csv", ["image", "label"], [("g00-0", 9)])),
            ("b.csv: column label: class numbers must be 0..5",),
        ),
    ]
    for arguments, texts in cases:
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), err
        assert not [text for text in texts if text not in err], err
        assert not list((place.root / "storage").glob("tiny/imports/*"))
    assert run("tiny.yaml", place.submission("a.csv", place.photos("test")))[0] == 0
    other = place.submission("other.csv", place.photos("test"), wrong=3)
    code, _, err = run("tiny.yaml", other, "--name", "a")
    assert (code, "--replace" in err) == (2, True)
    assert run("tiny.yaml", other, "--name", "a", "--replace")[0] == 0
    (listed,) = json.loads(run("tiny", "--list", "--json")[1])["imports"]
    assert [file["name"] for file in listed["files"]] == ["other.csv"]


def test_the_verb_runs_in_a_process_of_its_own_and_tells_no_secret(place: ImportPlace) -> None:
    name = place.submission("a.csv", place.photos("test"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "import_predictions.py"), "tiny.yaml", name, "--json"],
        cwd=place.root,
        env={**os.environ, "WANDB_API_KEY": SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imports"][0]["new"]
    kept = [path.read_bytes() for path in (place.root / "storage/tiny/imports").rglob("*") if path.is_file()]
    assert kept
    assert not [data for data in kept if SECRET.encode() in data or str(place.root).encode() in data]
