"""R7: the disk is full, at each writer in turn; the study stops with one line, and after space was freed goes on as if nothing had been.

The short form starves the writers one by one, without Ray. In the whole form the folders of studies and of trials stand on disks of their
own that have room for a few pages more at each attempt, so that driver and workers meet the end at one writer after the other; then the
verbs beside it. Disks are tmpfs, which needs root or user namespaces.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import ROOT, Child, Place, document, place
from benchmarks.faults.harness.tiny_disk import Disk, tiny_disk, why_not
from benchmarks.faults.harness.writers import starve_all
from ledger.studies import StudyFolder
from system.claims import LENGTH
from system.files import file_hash

TRIALS = 4
ROOMY = 256 * 2**20
CONTROL_BYTES = 12 * 2**20
"""Room for about four of the control's checkpoints."""
FREE_PAGES = (0, 1, 2, 4, 5)
"""Free pages of the folder of studies, one attempt each: no room for lease, plan, what Tune keeps, suggestion, event."""
FREE_PAGES_FIRST_TRIAL = (0, 2, 210, 330)
"""Free pages of the folder of trials: no room for claim, best weights, checkpoint."""
FREE_PAGES_LATER = (0, 2, 150)
UNSHARED = "FAULTS_UNSHARED"
ONE_LINE = re.compile(r"^run_search\.py: (?:your share of )?the disk of .* is full \(.* used, .* free.*\)", re.MULTILINE)


def run(seed: int, short: bool) -> list[RuleRow]:
    if not os.environ.get(UNSHARED) and (rows := _in_a_namespace(seed, short)) is not None:
        return rows
    if reason := why_not():
        return [RuleRow("R7", "full disk", 0, f"needs root or user namespaces: {reason}", "-", None)]
    rows = [_writers(seed)]
    return rows if short else [*rows, _study(seed), _verbs(seed)]


def _in_a_namespace(seed: int, short: bool) -> list[RuleRow] | None:
    """The same in a mount namespace of its own, whose disks go with its last process, whatever kills it; `None` where there is none."""
    own = ["unshare", "-m" if os.geteuid() == 0 else "-rm"]
    try:
        subprocess.run([*own, "true"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    command = [sys.executable, "-m", "benchmarks.faults", "R7", "--json", "--seed", str(seed), *(["--short"] if short else [])]
    environment = {**os.environ, UNSHARED: "1"}
    done = subprocess.run([*own, *command], cwd=ROOT, stdout=subprocess.PIPE, env=environment, check=False)
    return [RuleRow(**row) for row in json.loads(done.stdout)]


def _writers(seed: int) -> RuleRow:
    refused, faults, names = starve_all(seed)
    said = (
        "; ".join(faults) or f"{refused} refusals: old or new, nothing left over, with room the same bytes ({', '.join(names)})"
    )
    return RuleRow("R7", "each writer on a full disk, page by page", refused, said, "-", not faults)


def _study(seed: int) -> RuleRow:
    """One study through all of `FREE_PAGES`, `FREE_PAGES_FIRST_TRIAL` and `FREE_PAGES_LATER`, compared with the one that had room."""
    with place() as calm:
        calm.search("--trials", TRIALS, "--seed", seed).wait()
        expected = picture(calm)
    with place() as starved, _two_disks(starved) as (studies, trials):
        stops = list(_stops(starved, seed, studies, trials))
        trials.leave(ROOMY // 4096)
        starved.resume("--trials", TRIALS).wait()
        found = picture(starved)
    faults = [fault for _, own in stops for fault in own]
    faults += [f"{name} differs from the study that had room" for name in expected if expected[name] != found[name]]
    met = ", ".join(dict.fromkeys(met for met, _ in stops))
    said = "; ".join(faults) or f"{len(stops)} stops ({met}), each exit 1 and one line; suggestions, decisions, trials byte-equal"
    return RuleRow("R7", "study on a disk that is full at each writer", len(stops), said, _control(seed), not faults)


def _control(seed: int) -> str:
    """A bare Ray Tune whose disk is full in the middle, and which is restored when there is room."""
    with place() as where, tiny_disk(where.storage, CONTROL_BYTES) as disk:
        try:
            first = where.control("--trials", TRIALS, "--seed", seed)
            first.wait(code=None)
            disk.leave(ROOMY // 4096)
            again = where.control("--trials", TRIALS, "--seed", seed)
            again.wait(code=None)
        finally:
            where.close()
        told = [_control_told(child) for child in (first, again)]
    return f"full: {told[0]}; with room again: {told[1]}"


def _control_told(child: Child) -> str:
    """What came of the control's run."""
    code = child.process.returncode
    if code:
        return f"exit {code} ({(child.said.strip().splitlines() or ['silent'])[-1][:100]})"
    results = document(child.out.read_text())["results"]
    failed = sum(result["error"] is not None for result in results)
    return f"exit 0, {len(results) - failed} of {TRIALS} trials ended, {failed} failed"


@contextmanager
def _two_disks(where: Place) -> Iterator[tuple[Disk, Disk]]:
    with tiny_disk(where.kept / "studies", ROOMY) as studies, tiny_disk(where.kept / "trials", ROOMY) as trials:
        try:
            yield studies, trials
        finally:
            where.close()


def _stops(where: Place, seed: int, studies: Disk, trials: Disk) -> Iterator[tuple[str, list[str]]]:
    """Attempt after attempt, each with a few pages more: what was not there when it stopped, and what was wrong with the stop."""
    ladder = [(studies, pages) for pages in FREE_PAGES] + [
        (trials, pages) for pages in (*FREE_PAGES_FIRST_TRIAL, *FREE_PAGES_LATER)
    ]
    acknowledged: dict[str, int] = {}
    for disk, pages in ladder:
        for other in (studies, trials):
            other.leave(pages if other is disk else ROOMY // 4096)
        planned = StudyFolder(where.kept / "studies/s").planned
        child = where.resume() if planned else where.search("--trials", TRIALS, "--seed", seed)
        child.wait(code=None)
        if child.process.returncode == 0:
            return
        there = _epochs_done(where)
        faults = stop_faults(child) + [
            f"{trial} had {epochs} epochs and has {there.get(trial, 0)}"
            for trial, epochs in acknowledged.items()
            if there.get(trial, 0) < epochs
        ]
        faults += ["a trial was given up"] if any(event["event"] in ("failed", "retried") for event in _events(where)) else []
        acknowledged = there
        yield _met(where, child), faults


def stop_faults(child: Child, verb: str = "run_search.py") -> list[str]:
    """What is wrong with how a verb stopped on a full disk: it exits with 1, has nothing on stdout, and one line on stderr."""
    said, out = child.said, child.out.read_text()
    lines = [line for line in said.splitlines() if line.startswith(f"{verb}: ")]
    rules = [
        (child.process.returncode == 1, f"exit {child.process.returncode}"),
        (out == "", "something on stdout"),
        ("Traceback" not in said, "a traceback"),
        (len(lines) == 1 and " is full (" in lines[0], f"not the one line: {said[-400:]!r}"),
    ]
    return [fault for holds, fault in rules if not holds]


def _met(where: Place, child: Child) -> str:
    """What was being written when the disk was full: the first thing that the study lacks."""
    study = where.kept / "studies/s"
    if f"{LENGTH} bytes needed" in child.said:
        return "lease or claim"
    if not (study / "plan.json").exists():
        return "plan"
    if not list(study.glob("suggestions/*.json")):
        return "suggestion"
    if not _events(where):
        return "event"
    folders = sorted((where.kept / "trials").glob("[0-9a-f]*"), key=lambda path: path.stat().st_ctime)
    if not folders:
        return "trial folder"
    steps = {
        "config": "config.json",
        "provenance": "provenance.json",
        "predictions of an epoch": "predictions/epochs/*.npy",
        "best weights": "best.safetensors",
        "predictions": "predictions/[0-9a-f]*/*.npy",
        "checkpoint": "last.safetensors",
        "record": "record.json",
    }
    return next((name for name, pattern in steps.items() if not list(folders[-1].glob(pattern))), "a later epoch")


def _events(where: Place) -> list[dict[str, Any]]:
    path = where.kept / "studies/s/events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _epochs_done(where: Place) -> dict[str, int]:
    records = (where.kept / "trials").glob("*/record.json")
    return {path.parent.name: json.loads(path.read_text())["epochs_done"] for path in records}


def picture(where: Place) -> dict[str, Any]:
    """What must be equal of study `s`: name -> suggestion, decision or trial, without times, hosts and seals."""
    study = where.kept / "studies/s"
    found: dict[str, Any] = {path.name: file_hash(path) for path in sorted((study / "suggestions").glob("[0-9]*.json"))}
    found["decisions"] = [
        {key: event.get(key) for key in ("event", "trial_id", "epoch", "score")}
        for event in _events(where)
        if event["event"] in ("finished", "pruned", "diverged", "failed", "answered")
    ]
    for path in sorted((where.kept / "trials").glob("*/record.json")):
        record = json.loads(path.read_text())
        kept = ("curve", "score", "best_epoch", "epochs_done", "diverged", "weights")
        files = sorted([*path.parent.rglob("[!.]*.npy"), path.parent / "best.safetensors"])
        arrays = {str(file.relative_to(path.parent)): file_hash(file) for file in files}
        found[f"trial {path.parent.name}"] = {**{name: record[name] for name in kept}, **arrays}
    return found


def _verbs(seed: int) -> RuleRow:
    """Every other verb on a full disk, then the same command with room; and `--keep` on a storage without a free byte."""
    faults: list[str] = []
    with place() as where, tiny_disk(where.storage, ROOMY) as disk, tiny_disk(where.root / "out", ROOMY) as out:
        try:
            export = ("export_ensemble.py", where.yaml, "--to", out.path / "exported")
            bundle, photos = out.path / "exported/bundle", where.root / "data/bench/photos"
            faults += _starved(where, disk, 3, ("prepare_data.py", where.yaml))
            faults += _starved(where, disk, 30, _search(where, seed), left="studies/s")
            trial = sorted((where.kept / "trials").iterdir())[0].name
            faults += _starved(where, out, 8, export)
            faults += [] if bundle.is_dir() else ["no bundle in the end"]
            faults += _starved(where, out, 0, ("predict.py", bundle, photos, "--out", out.path / "answers.csv"))
            faults += _starved(where, disk, 5, ("reproduce_trial.py", where.yaml, trial))
            with tiny_disk(where.root / "other", ROOMY) as other:
                faults += _starved(where, other, 9, ("merge_ledgers.py", "bench", where.storage, "--storage", other.path))
            disk.leave(0)
            before = disk.used
            kept = where.resume("--keep", "1").json()
            faults += [] if kept["freed_bytes"] > 0 and disk.used < before else ["--keep freed nothing on a full disk"]
        finally:
            where.close()
    said = "; ".join(faults) or "exit 1, one line, nothing half-written; then done; --keep frees a disk without a free byte"
    return RuleRow("R7", "prepare, start, export, predict, reproduce, merge on a full disk; --keep", 7, said, "-", not faults)


def _search(where: Place, seed: int) -> tuple[object, ...]:
    return "run_search.py", where.yaml, "--space", "steps", "--trials", 2, "--study", "s", "--seed", seed, "--scheduler", "fifo"


def _starved(where: Place, disk: Disk, pages: int, command: tuple[object, ...], left: str | None = None) -> list[str]:
    """A verb with this much room, then with enough; what was wrong."""
    verb = str(command[0])
    disk.leave(pages)
    child = where.start(verb, *command[1:])
    child.wait(code=None)
    faults = [f"{verb}: {fault}" for fault in stop_faults(child, verb)]
    faults += [f"{verb} left {left}"] if left and (where.kept / left).exists() else []
    faults += [f"{verb} left {path.name}" for path in _half_written(disk.path)]
    disk.leave(ROOMY // 4096)
    again = where.start(verb, *command[1:])
    again.wait(code=None)
    return faults + ([f"{verb} failed with room: {again.said[-300:]}"] if again.process.returncode else [])


def _half_written(folder: Path) -> list[Path]:
    time.sleep(0.1)
    return [path for path in folder.rglob(".*") if path.name.endswith((".tmp", ".part"))]
