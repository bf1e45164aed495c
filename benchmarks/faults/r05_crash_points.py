"""R5: every writer is killed at its k-th touch of the disk (each write torn in half, each fsync, rename, link, unlink), for all k.

After each kill a reader has to see the old or the new, what was acknowledged has to be there, and the same command again has to come to
what it comes to undisturbed, with no file left over. Each kill starts from the same old state.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.faults.harness.crash import Snapshot, killed_at, snapshot
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.small_ledger import SmallLedger, trained
from ledger.predictions import Predictions
from ledger.reading import read_state
from ledger.repair.studies import repair_study
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import TrialFolder
from system import sealed_tensors
from system.checksums import unsealed
from system.files import append_line, file_hash, read_json, read_lines, sweep
from trainables.config import name_of

CLAIMS = ("claim.json", ".claim", "lease.json")
SHORT_EVERY = 13
"""In the short form a trained epoch and an export are killed at every 13th point, others per seed."""


@dataclass(frozen=True)
class CrashedWriter:
    """Something that writes into a folder.

    Attributes:
        first: Puts the old state there.
        write: Makes the new of it, in a child that may be killed.
        again: What its command does when it is started again.
        fault: What a reader finds wrong after a kill, before the writer is started again; empty where he sees old or new.
        plain: The snapshot without what no two runs share (times).
        every: Kill at every so manieth point.
    """

    name: str
    first: Callable[[Path], object]
    write: Callable[[Path], object]
    again: Callable[[Path], object]
    fault: Callable[[Path, Snapshot, Snapshot], str]
    plain: Callable[[Snapshot], Snapshot] = dict
    every: int = 1


def run(seed: int, short: bool) -> list[RuleRow]:
    """Kill every writer at all of its points."""
    rows = []
    with trained() as ledger, _quiet():
        for writer in writers(ledger, short):
            killed, faults = crash(writer, ledger.root.parents[1] / "crash", seed)
            told = f"0 of {killed} lost or half" if not faults else f"{len(faults)} of {killed}: {faults[0]}"
            rows.append(RuleRow("R5", f"{writer.name} killed at each touch of the disk", killed, told, "-", not faults))
    return rows


def crash(writer: CrashedWriter, place: Path, seed: int) -> tuple[int, list[str]]:
    """Kill one writer; how often, and what went wrong."""
    with _place(place / "calm") as folder:
        writer.first(folder)
        old = snapshot(folder)
        writer.write(folder)
        new = snapshot(folder)
    killed, faults = 0, list[str]()
    for k in count(1 + seed % writer.every, writer.every):
        with _place(place / "killed") as folder:
            writer.first(folder)
            if not killed_at(lambda folder=folder: writer.write(folder), k):  # type: ignore[misc]  # bound for this call
                return killed, faults
            killed += 1
            fault = writer.fault(folder, old, new)
            if not fault:
                writer.again(folder)
                fault = _difference(writer.plain(snapshot(folder)), writer.plain(new))
            faults += [f"{writer.name} at {k}: {fault}"] if fault else []
    return killed, faults


@contextmanager
def _quiet() -> Iterator[None]:
    """What is damaged and healed on purpose is not told."""
    log = logging.getLogger("podium")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """An empty folder for the time of a block."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def writers(ledger: SmallLedger, short: bool) -> Iterator[CrashedWriter]:
    """All of them."""
    every = SHORT_EVERY if short else 1
    yield from _of_a_trial(ledger)
    yield from _of_a_study(ledger)
    yield _predictions()
    yield replace(_epoch(ledger), every=every)
    yield replace(_mending(ledger), every=every)
    yield _image_cache(ledger)
    yield replace(_export(ledger), every=every)


def _of_a_trial(ledger: SmallLedger) -> Iterator[CrashedWriter]:
    record = ledger.folder(0).record()
    assert record is not None, "it was trained"
    before = replace(record, epochs_done=1, curve=record.curve[:1])
    session = {"commit": "a" * 40, "packages": {"torch": "1"}}

    def again(write: Callable[[TrialFolder], object]) -> Callable[[Path], object]:
        def swept(folder: Path) -> None:
            TrialFolder(folder).remove_leftovers()
            write(TrialFolder(folder))

        return swept

    acts: dict[str, tuple[Callable[[TrialFolder], object], Callable[[TrialFolder], object]]] = {
        "record": (lambda f: f.write_record(before), lambda f: f.write_record(record)),
        "metrics": (lambda f: f.write_metrics([{"epoch": 1}]), lambda f: f.write_metrics([{"epoch": 1}, {"epoch": 2}])),
        "settings": (lambda f: None, lambda f: f.write_config(ledger.configs[0].json())),
        "provenance": (lambda f: f.add_provenance({"commit": "b"}), lambda f: f.add_provenance(session)),
    }
    for name, (first, write) in acts.items():
        yield CrashedWriter(name, _on_trial(first), _on_trial(write), again(write), old_or_new)


def _on_trial(act: Callable[[TrialFolder], object]) -> Callable[[Path], object]:
    return lambda folder: act(TrialFolder(folder))


def _of_a_study(ledger: SmallLedger) -> Iterator[CrashedWriter]:
    one, two = ledger.study.suggestions()[:2]
    lines = [{"event": "started", "n": n, "long": "x" * 200} for n in range(4)]

    def add_lines(folder: Path) -> None:
        path = folder / "bench/studies/s/events.jsonl"
        for line in lines[len(read_lines(path)) :]:
            append_line(path, line)

    def journal_fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        found = read_lines(folder / "bench/studies/s/events.jsonl")
        return "" if len(found) >= 1 and found == lines[: len(found)] else f"reads {len(found)} lines"

    def on(act: Callable[[StudyFolder], object]) -> Callable[[Path], object]:
        return lambda folder: act(StudyFolder(folder / "bench/studies/s"))

    def mended(act: Callable[[StudyFolder], object]) -> Callable[[Path], object]:
        def again(folder: Path) -> None:
            study = StudyFolder(folder / "bench/studies/s")
            repair_study(study, folder / "bench/trials", name_of)
            act(study)

        return again

    def asked(study: StudyFolder, *suggestions: Suggestion) -> None:
        for suggestion in suggestions:
            study.write_suggestion(suggestion)

    def begin(study: StudyFolder) -> None:
        study.write_plan({"trials": 8, "long": "x" * 5000})
        asked(study, one)
        append_line(study.path / "events.jsonl", {"event": "started", "time": 0.0, "trial_id": one.trial_id})

    def plan_fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        told = StudyFolder(folder / "bench/studies/s").plan()
        return "" if told in ({"trials": 8, "long": "x" * 5000}, {"trials": 40, "long": "y" * 5000}) else "reads another plan"

    def suggestion_fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        found = StudyFolder(folder / "bench/studies/s").suggestions()
        return "" if found in ([one], [one, two]) else f"reads {len(found)} suggestions"

    yield CrashedWriter(
        "events", lambda f: append_line(f / "bench/studies/s/events.jsonl", lines[0]), add_lines, add_lines, journal_fault
    )
    larger = {"trials": 40, "long": "y" * 5000}
    yield CrashedWriter("plan", on(begin), on(lambda s: s.write_plan(larger)), mended(lambda s: s.write_plan(larger)), plan_fault)
    yield CrashedWriter("suggestion", on(begin), on(lambda s: asked(s, two)), mended(lambda s: asked(s, two)), suggestion_fault)


def _predictions() -> CrashedWriter:
    """A view is added, and another part is computed for other photos than it was kept for."""
    photos = tuple((f"photo-{n}", f"{n:032}") for n in range(500))
    rng = np.random.default_rng(0)
    probs = [rng.random((500, 3)).astype(np.float16) for _ in range(3)]

    def kept(folder: Path) -> Predictions:
        return Predictions(folder / "bench/trials/t0/predictions/w")

    def first(folder: Path) -> None:
        kept(folder).write("validation", "age", "identity", photos, probs[0])
        kept(folder).write("test", "age", "identity", photos[::-1], probs[1])

    def write(folder: Path) -> None:
        kept(folder).sweep()
        kept(folder).write("validation", "age", "hflip", photos, probs[1])
        kept(folder).write("test", "age", "identity", photos, probs[2])

    def fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        ids, found = kept(folder).read("validation", "age", "identity")
        if ids != tuple(name for name, _ in photos) or (found != probs[0]).any():
            return "lost what was there"
        for part, view, listed, wanted in (
            ("validation", "hflip", photos, probs[1]),
            ("test", "identity", photos, probs[2]),
            ("test", "identity", photos[::-1], probs[1]),
        ):
            if (
                not kept(folder).missing(part, ["age"], [view], listed)
                and (kept(folder).read(part, "age", view)[1] != wanted).any()
            ):
                return f"{part} {view} belongs to other photos"
        return ""

    return CrashedWriter("predictions", first, write, write, fault)


def _epoch(ledger: SmallLedger) -> CrashedWriter:
    """An epoch of a real trial: predictions, best weights, `previous`, `last`, metrics, record; and the end of the trial."""
    source = ledger.folder(2).path

    def first(folder: Path) -> None:
        shutil.copytree(source, folder / "trials" / source.name)

    def write(folder: Path) -> None:
        run = ledger.run(2, folder / "trials")
        while not run.record.ended:
            run.step()

    def fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        trial = TrialFolder(folder / "trials" / source.name)
        record = trial.record()
        if record is None or record.epochs_done < 2:
            return "lost an acknowledged epoch"
        sealed_tensors.check(trial.last)
        if trial.previous.exists():
            sealed_tensors.check(trial.previous)
        if read_state(trial.last, trial.id)["epoch"] < record.epochs_done:
            return "the checkpoint is behind the record"
        best = f"trials/{source.name}/best.safetensors"
        return "" if file_hash(trial.best) in {_hash(state[best]) for state in (old, new)} else "half of the best weights"

    return CrashedWriter("epoch of a trial", first, write, write, fault, _without_times)


def _mending(ledger: SmallLedger) -> CrashedWriter:
    """A damaged trial and a damaged study are healed."""
    config = ledger.configs[2]

    def first(folder: Path) -> None:
        shutil.copytree(ledger.root / "trials", folder / "bench/trials", copy_function=os.link)
        shutil.copytree(ledger.study.path, folder / "bench/studies/s")
        for name in ("record.json", "config.json", "metrics.jsonl", "provenance.json"):
            path = folder / "bench/trials" / config.trial_id / name
            data = path.read_bytes()
            path.unlink()  # its bytes are the source's
            path.write_bytes(data[:-9])
        events = folder / "bench/studies/s/events.jsonl"
        events.write_bytes(b"?" + events.read_bytes())
        (folder / "bench/studies/s/suggestions/000002.json").write_bytes(b"{")
        (folder / "bench/studies/s/plan.json").write_bytes(b"{")

    def write(folder: Path) -> None:
        repair_study(StudyFolder(folder / "bench/studies/s"), folder / "bench/trials", name_of)

    def fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        last = TrialFolder(folder / "bench/trials" / config.trial_id).last
        sealed_tensors.check(last)
        kept = [
            path.read_bytes() for path in (folder / "bench/quarantine").rglob("*") if path.is_file() and path.suffix != ".tmp"
        ]
        whole = {*old.values(), *(data.split(b"\n")[0] for data in old.values())}
        return "" if all(data in whole for data in kept) else "half a file in quarantine"

    def again(folder: Path) -> None:
        write(folder)
        for path in (folder / "bench").rglob("*/"):
            sweep(path)

    return CrashedWriter("mending", first, write, again, fault, _without_times)


def _image_cache(ledger: SmallLedger) -> CrashedWriter:
    from competitions.images.image_cache import attach, open_or_build
    from competitions.prepare import root_of

    prepared = ledger.prepared
    root = root_of(prepared.competition, prepared.paths)
    checksum = prepared.cache(32).checksum

    def write(folder: Path) -> None:
        open_or_build(prepared.manifest, root, 32, folder, workers=1)

    def fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        there = [cache for path in folder.glob("*.json") if (cache := attach(path)) is not None]
        return "" if all(cache.checksum == checksum and cache.verify() for cache in there) else "half of the photos"

    def plain(state: Snapshot) -> Snapshot:
        return {name: b"" if name.endswith(".json") else data for name, data in state.items()}

    return CrashedWriter("image cache", lambda folder: None, write, write, fault, plain)


def _export(ledger: SmallLedger) -> CrashedWriter:
    """One export takes the place of another: bundle, submission, plan and scores."""
    from bundle.answer import answer
    from bundle.export import export
    from bundle.gather import gather
    from bundle.opened import Opened
    from bundle.predict import open_bundle
    from ensemble.choose import choose
    from ensemble.options import Options
    from ensemble.plan.plan import EnsemblePlan

    asked = [Options(top=top, plain=True) for top in (1, 2)]
    choices = [choose(gather(Opened(ledger.prepared), options), options) for options in asked]
    for choice in choices:
        answer(Opened(ledger.prepared), choice.plan, choice.image_ids)
    plans = {choice.plan.plan_id for choice in choices}

    def put(number: int) -> Callable[[Path], object]:
        return lambda folder: export(Opened(ledger.prepared), choices[number], folder / "to")

    def first(folder: Path) -> None:
        shutil.rmtree(ledger.prepared.paths.ensembles, ignore_errors=True)
        put(0)(folder)

    def fault(folder: Path, old: Snapshot, new: Snapshot) -> str:
        if open_bundle(folder / "to/bundle").plan.plan_id not in plans:
            return "reads another bundle"
        if (folder / "to/submission.csv").read_bytes() not in (old["to/submission.csv"], new["to/submission.csv"]):
            return "half a submission"
        for path in ledger.prepared.paths.ensembles.rglob("*.json"):
            if path.name[0] != ".":
                value = read_json(path)
                if path.name == "plan.json":
                    EnsemblePlan.from_json(value)
        return ""

    return CrashedWriter("ensemble and bundle", first, put(1), put(1), fault)


def old_or_new(folder: Path, old: Snapshot, new: Snapshot) -> str:
    """Every file that has a name of its own is as it was or as it should become, and none is gone."""
    found = {name: data for name, data in snapshot(folder).items() if not Path(name).name.startswith(".")}
    wrong = [name for name, data in found.items() if data not in (old.get(name), new.get(name))]
    wrong += [name for name in old if name not in found]
    return f"half of {', '.join(wrong)}" if wrong else ""


def _difference(found: Snapshot, wanted: Snapshot) -> str:
    """Which files differ; the claim of a writer that was killed as it let go is nobody's, and whoever comes next takes it."""
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name) and not name.endswith(CLAIMS))
    return f"started again, it differs in {', '.join(names[:4])}" if names else ""


def _without_times(state: Snapshot) -> Snapshot:
    """A trial's files without seconds, and without the checkpoint's and the sessions' bytes, which tell them too."""
    plain = {name: b"" if name.endswith(("last.safetensors", "provenance.json")) else data for name, data in state.items()}
    for name in (name for name in state if name.endswith(("record.json", "metrics.jsonl", "events.jsonl"))):
        lines = state[name].split(b"\n") if name.endswith("l") else [state[name]]
        values = [unsealed(line) for line in lines if line]
        plain[name] = json.dumps([{k: v for k, v in value.items() if k not in ("seconds", "time")} for value in values]).encode()
    return plain


def _hash(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()
