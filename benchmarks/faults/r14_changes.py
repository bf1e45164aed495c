"""R14: code, space, photos, labels, groups, split, metric changed under a study: it stops, and names what was changed and nothing else.

Each change is planted alone, the verb is asked to go on, and what it says is compared with what was planted; then the change is taken
back. In full every change is accepted as well: the study must go on to its end and have the change in its events.
"""

import contextlib
import csv
import io
import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import NAME, ROOT, SPACE, TARGET, VERB, Place, eventually, place

PHOTO = "photos/00004.jpg"
Plant = Callable[[Place], object]


@dataclass(frozen=True)
class _Told:
    """How the verb answered: its exit code and what it said."""

    code: int
    said: str

    @property
    def kinds(self) -> list[str]:
        """What it named, in the order of its sentences; the lines of a diff begin otherwise."""
        words = [
            line.removeprefix("run_search.py: ").split(":")[0]
            for line in self.said.splitlines()
            if line.startswith("run_search.py: ")
        ]
        return [word for word in words if word.isidentifier()]


def run(seed: int, short: bool) -> list[RuleRow]:
    """In full every change is accepted as well, and the study trained to its end."""
    with place() as where:
        where.space("steps", SPACE)
        _begin(where, seed, short)
        wrong, cases = [], [*PLANTS]
        for name in cases:
            with _planted(where, name):
                told = _resume(where, name)
            if told.code != 2 or told.kinds != [name]:
                wrong.append(f"{name}: exit {told.code}, named {told.kinds or told.said[-200:]!r}")
        quiet = _resume(where, "nothing", "--dry-run")
        if quiet.code != 0:
            wrong.append(f"nothing changed: exit {quiet.code}")
        rows = [_row("stops, and names the one change that was planted", len(cases) + 1, wrong, "-" if short else _control(seed))]
        if not short:
            failed = list[str]()
            for name in cases:
                with _planted(where, name):
                    failed += filter(None, [_accepted(where, name)])
            rows.append(_row("goes on with --accept-change and records it", len(cases), failed, "-"))
    return rows


def _row(what: str, cases: int, wrong: list[str], control: str) -> RuleRow:
    said = f"{cases - len(wrong)} of {cases} right" + "".join(f"; {one}" for one in wrong)
    return RuleRow("R14", f"changed code, space or data: {what}", cases, said, control, not wrong)


def _begin(where: Place, seed: int, short: bool) -> None:
    """A study with its plan on disk: in short as a driver writes it, in full one that was stopped in its first trial."""
    shutil.copytree(ROOT, where.root / "code", ignore=lambda folder, names: [n for n in names if not _is_code(Path(folder), n)])
    if short:
        with _at(where):
            from search.plan import make_plan, plan_json
            from search.request import Request

            plan = make_plan(Request(str(where.yaml), space="steps", study="s", targets=(TARGET,), seed=seed), where.storage)
            plan.study.write_plan(plan_json(plan, plan.prepared.save()))
        return
    child = where.search("--trials", 2, "--seed", seed)
    eventually(lambda: list((where.kept / "trials").glob("*/record.json")), "the first epoch", child=child)
    child.kill_all()


def _is_code(folder: Path, name: str) -> bool:
    if folder == ROOT:
        return name.endswith(".py") or (name not in ("benchmarks", "tests") and (folder / name / "__init__.py").exists())
    return name != "__pycache__"


# ---- what is planted


def _append(path: Callable[[Place], Path], text: str) -> Plant:
    return lambda where: path(where).open("a").write(text)


def _replace(path: Callable[[Place], Path], old: str, new: str) -> Plant:
    def plant(where: Place) -> None:
        text = path(where).read_text()
        assert old in text, (path(where), old)
        path(where).write_text(text.replace(old, new))

    return plant


def _cell(column: str, value: str) -> Plant:
    """Another value for one photo in the table."""

    def plant(where: Place) -> None:
        path = where.root / "data" / NAME / "manifest.csv"
        with open(path, newline="") as file:
            header, *rows = csv.reader(file)
        row = next(row for row in rows if row[0] == PHOTO)
        row[header.index(column)] = value
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])

    return plant


def _pixel(where: Place) -> None:
    import numpy as np
    from PIL import Image

    path = where.root / "data" / NAME / PHOTO
    with Image.open(path) as photo:
        pixels = np.asarray(photo).copy()
    pixels[0:8, 0:8] = 255 - pixels[0:8, 0:8]
    Image.fromarray(pixels).save(path, quality=90)


def _gone(where: Place) -> None:
    path = where.root / "data" / NAME / "manifest.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith(PHOTO)))


PLANTS: dict[str, Plant] = {
    "code": _replace(lambda where: where.root / "code/trainables/losses.py", "def ", "PLANTED = 1\n\n\ndef "),
    "space": _replace(lambda where: where.root / "spaces/steps.py", "1e-5, 1e-2", "1e-5, 1e-3"),
    "pixels": _pixel,
    "labels": _cell("kind", "c"),
    "groups": _cell("person", "p0"),
    "photos": _gone,
    "split": _replace(lambda where: where.yaml, "folds: 4", "folds: 5"),
    "metric": _replace(lambda where: where.yaml, "metric: accuracy", "metric: macro_f1"),
}
"""The word that must be named -> what is planted."""


@contextlib.contextmanager
def _planted(where: Place, name: str) -> Iterator[None]:
    """Plant a change, and take everything back at the end: data, spaces, the competition's file, the code, and the storage."""
    kept = where.root / "kept"
    parts = ("data", "spaces", "code", where.storage_name, where.yaml.name)
    for part in parts:
        source = where.root / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _in(kept, part))
    try:
        PLANTS[name](where)
        yield
    finally:
        for part in parts:
            place = where.root / part
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            (kept / part).rename(place)
        shutil.rmtree(kept)


def _in(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / name


# ---- what the verb says


def _resume(where: Place, name: str, *more: str) -> _Told:
    """Ask the verb to go on: a process of its own where the code was changed, else its own `main` in this one, which is as good."""
    if name == "code":
        child = where.run([*_verb(where), where.yaml, "--resume", "s", *more], None, {})
        child.process.wait(120)
        return _Told(child.process.returncode, child.said)
    said = io.StringIO()
    with _at(where), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        import run_search

        before, sys.argv = sys.argv, ["run_search.py", str(where.yaml), "--resume", "s", *more]
        try:
            code = run_search.main()
        finally:
            sys.argv = before
    return _Told(code, said.getvalue())


def _accepted(where: Place, name: str) -> str:
    """Go on with the change to the end of the study; what was wrong, or nothing."""
    child = where.run([*_verb(where), where.yaml, "--resume", "s", "--accept-change", "--json"], None, {})
    child.process.wait(240)
    if child.process.returncode != 0:
        return f"{name}: exit {child.process.returncode} {child.said[-300:]}"
    study = where.kept / "studies/s"
    events = [json.loads(line) for line in (study / "events.jsonl").read_text().splitlines()]
    kinds = [change["kind"] for event in events if event["event"] == "accepted" for change in event["changes"]]
    plan = json.loads((study / "plan.json").read_text())
    done = json.loads(child.out.read_text())["targets"][TARGET]["trials"]
    ended = sum(done.get(status, 0) for status in ("finished", "pruned"))
    if kinds != [name] or len(plan["before"]) != 1 or ended != 2:
        return f"{name}: recorded {kinds}, {len(plan['before'])} former plans, {done}"
    return ""


def _verb(where: Place) -> list[object]:
    return [VERB, where.root / "spaces", where.root / "code/run_search.py"]


@contextlib.contextmanager
def _at(where: Place) -> Iterator[None]:
    """This process stands where the place's shell does: its folders, and its spaces as they are now."""
    import os

    import search_spaces

    told = {"PODIUM_DATA": str(where.root / "data"), "PODIUM_STORAGE": str(where.storage)}
    before = {name: os.environ.get(name) for name in told}
    folder, places, cached = search_spaces.FOLDER, list(search_spaces.__path__), sys.dont_write_bytecode
    os.environ.update(told)
    search_spaces.FOLDER = where.root / "spaces"
    search_spaces.__path__[:] = [str(where.root / "spaces")]
    sys.dont_write_bytecode = True  # a file of the same second and size would be read from its cache
    for name in [name for name in sys.modules if name.startswith("search_spaces.")]:
        del sys.modules[name]
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        search_spaces.FOLDER, search_spaces.__path__[:], sys.dont_write_bytecode = folder, places, cached


def _control(seed: int) -> str:
    """Bare Ray Tune, stopped by Ctrl-C and restored with other labels and, by another number of epochs, other code."""
    import numpy as np

    with place() as where:
        child = where.control("--trials", 2, "--seed", seed)
        eventually(lambda: len(where.truth()) >= 4, "the second epoch of the control", child=child)
        child.process.send_signal(signal.SIGINT)
        child.process.wait(120)
        with np.load(where.control_photos()) as kept:
            arrays = dict(kept)
        np.savez(where.root / "photos.npz", **{**arrays, "labels": (arrays["labels"] + 1) % 3})
        again = where.control("--trials", 2, "--seed", seed, "--epochs", 8)
        again.wait(code=None)
        named = [word for word in ("label", "changed", "differ") if word in again.said.lower()]
        return f"labels and epochs changed: exit {again.process.returncode}, {'says so' if named else 'nothing said'}"
