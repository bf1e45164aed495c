"""What commit 1f199e9 wrote is read as it is, and answered as that commit answered (tests/fixtures/README.md says how it was made).

Votes over cached arrays are equal to the byte on any machine. Statistics about them (scores, forecast, journal) are sums of floats in an
order that the processor's vector width decides, so they agree within `SUMS`. What trains or runs a network is equal to the bit on the
processor that made the fixtures, and within the ledger's own promise on others.
"""

import csv
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import export_ensemble
import merge_ledgers
import predict
import reproduce_trial
import show_trials
from tests.fixtures.make import EXPORTS, WITH_SPACES
from trainables.provenance import hardware

HERE = Path(__file__).parent
ROOT = HERE.parent
FIXTURES = HERE / "fixtures"
RECORDED = FIXTURES / "recorded"
COMMIT = "1f199e9"
SUMS = 1e-9
"""Of equal sums in another order, relative and absolute."""
MEASURED = {"seconds", "seconds_per_1000"}
"""Keys whose values a clock gave."""
LONG = {"thorough", "best", "routes", "plain", "front", "budget"}
"""Exports that compare much, or whose path is another's."""
WORDS = {"README.txt"}
"""Files of a bundle that speak to people and name functions of the code that wrote them."""


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_text())


LAST = {recorded(f"exports/{name}/said.json")["ensemble"]: name for name in EXPORTS}


def same_processor() -> bool:
    """Whether this is the kind of machine that made the fixtures: bits are promised here."""
    session = json.loads(next((FIXTURES / "ours/drawn/trials").glob("*/provenance.json")).read_text())["sessions"][0]
    return bool(session["hardware"] == hardware())


def differences(now: Any, then: Any, where: str = "", sums: float = SUMS) -> Iterator[str]:
    """Where two JSON values differ; floats count as equal within `sums`."""
    if isinstance(now, dict) and isinstance(then, dict):
        for key in sorted({*now, *then}):
            if key not in now or key not in then:
                yield f"{where}.{key}: only {'then' if key in then else 'now'}"
            elif key not in MEASURED:
                yield from differences(now[key], then[key], f"{where}.{key}", sums)
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        for row, (one, other) in enumerate(zip(now, then, strict=True)):
            yield from differences(one, other, f"{where}[{row}]", sums)
    elif isinstance(now, float) and isinstance(then, float):
        if not math.isclose(now, then, rel_tol=sums, abs_tol=sums):
            yield f"{where}: {now} now, {then} then"
    elif now != then:
        yield f"{where}: {now!r} now, {then!r} then"


def check_equal(now: Any, then: Any, sums: float = SUMS) -> None:
    """Refuse two documents that differ; today's may have facts at its top that the former had not."""
    if isinstance(now, dict) and isinstance(then, dict):
        now = {key: value for key, value in now.items() if key in then}
    found = list(differences(now, then, sums=sums))
    assert not found, "\n".join(found[:20])


@dataclass(frozen=True)
class KeptPlace:
    """A copy of the fixtures to work in, with links become files."""

    root: Path

    @property
    def kept(self) -> Path:
        return self.root / "ours/drawn"

    @property
    def yaml(self) -> Path:
        return self.root / "drawn.yaml"

    @property
    def environment(self) -> dict[str, str]:
        named = {"PODIUM_DATA": "data", "PODIUM_STORAGE": "ours", "HOME": "home", "RAY_TMPDIR": "r"}
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        fixed = {"PODIUM_AUTHOR": "ana", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
        return {**kept, **fixed, **{name: str(self.root / folder) for name, folder in named.items()}}

    def say(self, verb: ModuleType, *arguments: object) -> Any:
        """The document that a verb prints, run in this process."""
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
            for name in ("PODIUM_DATA", "PODIUM_STORAGE", "PODIUM_AUTHOR"):
                patch.setenv(name, self.environment[name])
            patch.chdir(self.root)
            patch.setattr(sys, "argv", [str(verb.__file__), *map(str, arguments), "--json"])
            assert verb.main() == 0
        return json.loads(out.getvalue())

    def run(self, code: Path, verb: str, *arguments: object) -> Any:
        """The document that a verb of this checkout prints, run in a process of its own."""
        (self.root / "home").mkdir(exist_ok=True)
        command = [sys.executable, "-c", WITH_SPACES, str(FIXTURES / "spaces"), str(code / verb), *map(str, arguments), "--json"]
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def trial(self, trial: str, file: str) -> bytes:
        return (self.kept / "trials" / trial / file).read_bytes()


@pytest.fixture(scope="module")
def new_place() -> Iterator[Callable[[], KeptPlace]]:
    """Makes a copy of the fixtures for whoever asks."""
    made: list[Path] = []

    def make() -> KeptPlace:
        root = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))  # short: Ray's socket names may have 107 characters
        made.append(root)
        for name in ("ours", "theirs", "data", "bundle"):
            shutil.copytree(FIXTURES / name, root / name)
        shutil.copy(FIXTURES / "drawn.yaml", root)
        return KeptPlace(root)

    yield make
    for root in made:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def place(new_place: Callable[[], KeptPlace]) -> KeptPlace:
    """One copy for the exports, whose own answers of then are set aside."""
    place = new_place()
    shutil.rmtree(place.kept / "ensembles")
    return place


@pytest.fixture
def own(new_place: Callable[[], KeptPlace]) -> KeptPlace:
    return new_place()


def exported(place: KeptPlace, name: str) -> dict[str, Any]:
    """Export with the flags of a recorded export; `to` is where."""
    said: dict[str, Any] = place.say(export_ensemble, place.yaml, "--to", place.root / "to" / name, *EXPORTS[name])
    return said


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in EXPORTS])
def test_an_export_from_cached_arrays_is_what_it_was(place: KeptPlace, name: str) -> None:
    then, to = recorded(f"exports/{name}/said.json"), place.root / "to" / name
    said = exported(place, name)
    assert (to / "submission.csv").read_bytes() == (RECORDED / "exports" / name / "submission.csv").read_bytes()
    assert said["ensemble"] == then["ensemble"]
    now_kept, then_kept = (root / "ensembles" / then["ensemble"] for root in (place.kept, FIXTURES / "ours/drawn"))
    assert (now_kept / "plan.json").read_bytes() == (then_kept / "plan.json").read_bytes()
    check_equal({key: value for key, value in said.items() if key not in ("plan", "submission", "bundle")}, then)
    if LAST[then["ensemble"]] == name:  # exports that choose the same write into one folder, and the last one's files stayed
        for file in ("scores", "forecast", "journal", "beside"):
            check_equal(*(json.loads((kept / f"{file}.json").read_text()) for kept in (now_kept, then_kept)))
    elsewhere = {"scores.json", "forecast.json"}  # compared above
    sums = (
        json.loads(file.read_text()) for file in (to / "bundle/checksums.json", RECORDED / "exports" / name / "checksums.json")
    )
    now, before = ({file: digest for file, digest in one.items() if file not in WORDS | elsewhere} for one in sums)
    assert now == before


def test_the_bundle_of_then_predicts_what_it_predicted(own: KeptPlace) -> None:
    out = own.root / "answers.csv"
    said = own.say(predict, own.root / "bundle", own.root / "data/drawn/test", "--out", out)
    now, then = (list(csv.reader(path.read_text().splitlines())) for path in (out, RECORDED / "predicted.csv"))
    flipped = sum(one != other for one, other in zip(now, then, strict=True))
    # another processor rounds a network's sums otherwise: only photos that are close to call may get another answer
    assert flipped <= (0 if same_processor() else said["close_calls"])
    check_equal({k: v for k, v in said.items() if k != "out"}, {k: v for k, v in recorded("predict.json").items() if k != "out"})


def test_the_leaderboard_of_then_is_shown_as_it_was(own: KeptPlace) -> None:
    check_equal(own.say(show_trials, "drawn"), recorded("show.json"), sums=0)
    shutil.rmtree(own.kept / "studies")  # what the studies knew is asked of them, not remembered elsewhere
    assert {row["study"] for row in own.say(show_trials, "drawn")} != {row["study"] for row in recorded("show.json")}


def test_what_helped_is_told_as_it_was(own: KeptPlace) -> None:
    base = recorded("reproduce.json")["trial_id"]
    check_equal(own.say(show_trials, "drawn", "--against", base), recorded("against.json"))


def test_a_team_mates_ledger_of_then_is_merged_as_it_was(own: KeptPlace) -> None:
    check_equal(own.say(merge_ledgers, "drawn", "theirs"), recorded("merge.json"))
    check_equal(own.say(show_trials, "drawn"), recorded("merged.json"))


def test_a_trial_of_then_is_reproduced(own: KeptPlace) -> None:
    then = recorded("reproduce.json")
    said = own.say(reproduce_trial, own.yaml, then["trial_id"])
    assert said["verdict"] == then["verdict"] == "PASS"
    if said["promised"] == "bits":  # elsewhere the ledger's own tolerance decided, and PASS says that it held
        assert said["equal_bits"]
        assert said["score_now"] == then["score_now"]


@pytest.mark.long  # a minute on two free cores; tests/search and tests/verbs resume studies in `make test`
def test_an_interrupted_study_of_then_goes_on_and_is_extended(own: KeptPlace) -> None:
    (cut,) = [row for row in recorded("show.json") if row["study"] == "cut"]
    head = own.trial(cut["trial_id"], "metrics.jsonl")
    said = own.run(ROOT, "run_search.py", own.yaml, "--resume", "cut", "--accept-change", "--trials", 2)
    assert said["targets"]["shape"]["trials"] == {"finished": 2}
    assert own.trial(cut["trial_id"], "metrics.jsonl").startswith(head)
    record, whole = (
        json.loads((own.root / storage / "drawn/trials" / cut["trial_id"] / "record.json").read_text())
        for storage in ("ours", "theirs")  # the team-mate's was never interrupted
    )
    assert record["epochs_done"] == whole["epochs_done"] == 12
    if same_processor():  # the last bits of ten more epochs are promised on one kind of processor only
        assert (record["curve"], record["weights"]) == (whole["curve"], whole["weights"])


# ---- both versions, side by side


@pytest.fixture(scope="module")
def then(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of commit 1f199e9, from the history of this repository."""
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"needs the code of {COMMIT}, which a shallow history does not have: {archive.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("then")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def walk(place: KeptPlace, code: Path) -> dict[str, Any]:
    """Resume, extend, show, reproduce, export, merge, export again and predict with the verbs of a checkout; what they said."""
    best = recorded("reproduce.json")["trial_id"]
    bundle, photos = place.root / "bundle", place.root / "data/drawn/test"
    on = ("run_search.py", place.yaml, "--accept-change")
    return {
        "resumed": place.run(code, *on, "--resume", "cut"),
        "extended": place.run(code, *on, "--resume", "first", "--trials", 4),
        "predicted": place.run(code, "predict.py", bundle, photos, "--out", place.root / "predicted.csv"),
        "reproduced": place.run(code, "reproduce_trial.py", place.yaml, best),
        "exported": place.run(code, "export_ensemble.py", place.yaml, "--to", place.root / "to/first"),
        "merged": place.run(code, "merge_ledgers.py", "drawn", "theirs"),
        "shown": place.run(code, "show_trials.py", "drawn"),
        "again": place.run(code, "export_ensemble.py", place.yaml, "--to", place.root / "to/again", "--thorough"),
    }


@pytest.mark.long
def test_both_versions_go_on_from_the_fixtures_to_the_same_bits(then: Path, new_place: Callable[[], KeptPlace]) -> None:
    places = {"then": new_place(), "now": new_place()}
    said = {"then": walk(places["then"], then), "now": walk(places["now"], ROOT)}
    for step, value in said["then"].items():
        check_equal(comparable(said["now"][step]), comparable(value), sums=0)
    files = {name: answers(place.root) for name, place in places.items()}
    assert files["now"].keys() == files["then"].keys()
    assert [name for name, content in files["then"].items() if files["now"][name] != content] == []


NOT_COMPARED = {"out", "submission", "bundle", "ingredients", "freed_bytes", "author", "host"}
"""Paths; that the code differs; the size of checkpoints, whose headers hold seconds; and who trained a trial that two people trained:
of equal ones the smaller fingerprint stays, and seconds are in it."""


def comparable(value: Any) -> Any:
    """What a verb said, without what differs between two runs of one version."""
    if isinstance(value, dict):
        return {key: comparable(one) for key, one in value.items() if key not in NOT_COMPARED}
    return [comparable(one) for one in value] if isinstance(value, list) else value


def answers(root: Path) -> dict[str, bytes]:
    """Relative name -> content of everything that was learned, predicted, suggested and chosen."""
    patterns = (
        "ours/drawn/trials/*/config.json",
        "ours/drawn/trials/*/best.safetensors",
        "ours/drawn/trials/*/predictions/**/*",
        "ours/drawn/studies/*/suggestions/*.json",
        "ours/drawn/ensembles/**/*.json",
        "to/*/submission.csv",
        "to/*/bundle/plan.json",
        "to/*/bundle/scores.json",
        "to/*/bundle/forecast.json",
        "predicted.csv",
    )
    found = [path for pattern in patterns for path in root.glob(pattern) if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}
