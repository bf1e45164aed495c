"""R6: every kind of file is cut, flipped and emptied; then the study goes on, the leaderboard is shown and an ensemble is exported.

Nothing may crash, the damage has to be in quarantine (or the trial left out) and named, and records, leaderboard and submission have to
be those of the ledger that was never damaged. The study goes on by the functions that the verbs call, in this process; in the full
form also by the verbs' command lines, with real Ray.
"""

import logging
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.faults.harness import studies
from benchmarks.faults.harness.crash import snapshot
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.small_ledger import SmallLedger, trained
from ledger.query import leaderboard
from ledger.repair.studies import repair_study
from ledger.studies import StudyFolder
from ledger.trials import Record, TrialFolder
from system.claims import claim
from system.paths import CompetitionPaths
from trainables.config import name_of

CUTS, FLIPS = (0.0, 0.02, 0.5, 0.9, 0.999), 4
SHORT_CUTS, SHORT_FLIPS = (0.0, 0.6), 1
MOVED = ("record.json", "config.json", "metrics.jsonl", "provenance.json", "01.json", "02.json", "plan.json", "copy.json", ".npy")
"""What is mended whatever it is needed for: the damaged bytes have to be in quarantine in the end."""
EXPORTED = ("record", "settings", "best weights", "predictions")
"""What an export reads; the short form exports nothing after other damage."""
RESULTS = ("epochs_done", "score", "best_epoch", "curve", "diverged", "weights")


@dataclass(frozen=True)
class Damage:
    """One file, and what became of its bytes."""

    file: str
    how: str
    data: bytes


@dataclass
class LedgerOutcome:
    """What a ledger comes to.

    Attributes:
        records: Per trial its results.
        before: The leaderboard before anybody mended anything: (trial_id, score).
        after: The leaderboard in the end.
        submission: The exported one; empty where nothing was exported.
        said: The warnings on the way.
    """

    records: dict[str, dict[str, Any]]
    before: list[tuple[str, float | None]]
    after: list[tuple[str, float | None]]
    submission: bytes
    said: str = ""


@dataclass
class Tally:
    """Cases and faults of one kind of file."""

    cases: int = 0
    faults: list[str] = field(default_factory=list)


def run(seed: int, short: bool) -> list[RuleRow]:
    """All damages of every kind of file."""
    tallies: dict[str, Tally] = {}
    cases = _in_process(seed, short) if short else chain(_in_process(seed, short), _by_verbs(seed))
    for kind, fault in cases:
        tally = tallies.setdefault(kind, Tally())
        tally.cases += 1
        tally.faults += [fault] if fault else []
    return [
        RuleRow(
            "R6",
            f"{kind} cut, flipped, emptied",
            tally.cases,
            "0 results lost or changed, all named" if not tally.faults else f"{len(tally.faults)} faults: {tally.faults[0]}",
            "-",
            not tally.faults,
        )
        for kind, tally in tallies.items()
    ]


def damages(root: Path, file: Path, chance: random.Random, cuts: tuple[float, ...], flips: int) -> Iterator[Damage]:
    """What is done to one file."""
    data, name = file.read_bytes(), file.relative_to(root).as_posix()
    for share in cuts:
        length = max(0, min(int(len(data) * share), len(data) - 3))  # a lost end of the last line loses nothing
        yield Damage(name, f"cut after {share:.1%}" if length else "emptied", data[:length])
    for _ in range(flips):
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        yield Damage(
            name, f"bit {bit} of byte {place} flipped", data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
        )


def kinds(root: Path, going_on: TrialFolder, finished: TrialFolder) -> dict[str, list[Path]]:
    """Kind of file -> those of the ledger that stand for it."""
    study = StudyFolder(root / "studies/s")
    weights = next(path for path in finished.predictions.iterdir() if path.name != "epochs")
    return {
        "record": [going_on.path / "record.json", finished.path / "record.json"],
        "settings": [going_on.path / "config.json", finished.path / "config.json"],
        "metrics": [going_on.path / "metrics.jsonl", finished.path / "metrics.jsonl"],
        "provenance": [finished.path / "provenance.json"],
        "checkpoint": [going_on.last, going_on.previous, finished.last],
        "best weights": [finished.best],
        "predictions": [*sorted(weights.glob("*.npy"))[:2], weights / "validation.photos.tsv"],
        "epochs' predictions": [finished.predictions / "epochs/validation.photos.tsv"],
        "suggestion": [study.path / "suggestions/000001.json", study.path / "suggestions/000002.json"],
        "events": [study.path / "events.jsonl"],
        "plan": list(study.plan_files),
        "preparation": sorted((root / "data/prepared").glob("*.json")),
    }


def fault_of(wanted: LedgerOutcome, found: LedgerOutcome, damage: Damage, root: Path) -> str:
    """What is wrong with what a damaged ledger came to; empty where nothing is."""
    trial = damage.file.split("/")[1] if damage.file.startswith("trials/") else ""
    left_out = bool(trial) and f"trial {trial} is left out" in found.said
    faults = ["records differ"] if found.records != wanted.records else []
    faults += ["the leaderboard differs"] if found.after != wanted.after else []
    hidden = [row for row in wanted.before if not (left_out and row[0] == trial)]
    faults += ["the leaderboard before differs"] if found.before not in (hidden, wanted.before) else []
    without = left_out and damage.file.endswith("best.safetensors")
    faults += ["the submission differs"] if found.submission not in (b"", wanted.submission) and not without else []
    kept = snapshot(root / "quarantine").values() if (root / "quarantine").is_dir() else ()
    faults += ["its bytes are not in quarantine"] if damage.file.endswith(MOVED) and damage.data not in kept else []
    there = (root / damage.file).exists() and (root / damage.file).read_bytes() == damage.data
    faults += ["it is neither in quarantine nor left out"] if there and not left_out and not _is_unread(damage, trial) else []
    faults += ["nobody named it"] if (kept or left_out) and Path(damage.file).name not in found.said else []
    return f"{damage.file} {damage.how}: {', '.join(faults)}" if faults else ""


def _is_unread(damage: Damage, trial: str) -> bool:
    """What nobody asks for: an ended trial's checkpoint, what each epoch predicted."""
    return bool(trial) and damage.file.endswith(("last.safetensors", "epochs/validation.photos.tsv"))


def results(root: Path) -> dict[str, dict[str, Any]]:
    """Trial -> what its record says came of it."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((root / "trials").iterdir()):
        record: Record | None = TrialFolder(path).record()
        found[path.name] = {name: getattr(record, name) for name in RESULTS}
    return found


# ---- in this process


def _in_process(seed: int, short: bool) -> Iterator[tuple[str, str]]:
    cuts, flips = (SHORT_CUTS, SHORT_FLIPS) if short else (CUTS, FLIPS)
    chance = random.Random(seed)
    with trained() as ledger:
        place = ledger.root.parents[1]
        shutil.copytree(ledger.root, place / "whole")
        wanted = _go_on(ledger, place / "to")
        _restore(ledger, place / "whole")
        for kind, files in kinds(ledger.root, ledger.folder(2), ledger.folder(0)).items():
            asked = [one for file in (files[:1] if short else files) for one in damages(ledger.root, file, chance, cuts, flips)]
            for damage in chance.sample(asked, 2) if short else asked:
                (ledger.root / damage.file).write_bytes(damage.data)
                try:
                    fault = fault_of(wanted, _go_on(ledger, place / "to", exported=kind in EXPORTED), damage, ledger.root)
                except Exception as error:  # whatever is raised is the fault that is looked for
                    fault = f"{damage.file} {damage.how}: {type(error).__name__}: {error}"
                _restore(ledger, place / "whole")
                yield kind, fault


def _go_on(ledger: SmallLedger, to: Path, *, exported: bool = True) -> LedgerOutcome:
    """What `--resume`, the leaderboard and an export do, by the functions they call."""
    from bundle.export import export
    from bundle.gather import gather
    from bundle.opened import Opened
    from ensemble.choose import choose
    from ensemble.options import Options

    with _listening() as said:
        before = [(row.trial_id, row.score) for row in leaderboard(CompetitionPaths(ledger.root)).rows]
        ledger.prepared.save()
        with claim(ledger.study.lease) or _refused():
            repair_study(ledger.study, ledger.prepared.paths.trials, name_of)
            statuses = ledger.study.statuses()
            for number, config in enumerate(ledger.configs):
                if statuses[config.trial_id] == "running":
                    run = ledger.run(number)
                    while not run.record.ended:
                        run.step()
        shutil.rmtree(to, ignore_errors=True)
        if exported:
            options = Options(top=2, plain=True)
            export(Opened(ledger.prepared), choose(gather(Opened(ledger.prepared), options), options), to)
        after = [(row.trial_id, row.score) for row in leaderboard(CompetitionPaths(ledger.root)).rows]
    submission = (to / "submission.csv").read_bytes() if exported else b""
    return LedgerOutcome(results(ledger.root), before, after, submission, "\n".join(said))


def _restore(ledger: SmallLedger, whole: Path) -> None:
    for name in ("trials", "studies", "quarantine", "ensembles"):
        shutil.rmtree(ledger.root / name, ignore_errors=True)
    for name in ("trials", "studies"):
        shutil.copytree(whole / name, ledger.root / name)
    shutil.copytree(whole / "data/prepared", ledger.root / "data/prepared", dirs_exist_ok=True)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """The warnings that people would see."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, keep = logging.getLogger("podium"), Keep(logging.WARNING)
    before = log.propagate
    log.addHandler(keep)
    log.propagate = False
    try:
        yield said
    finally:
        log.removeHandler(keep)
        log.propagate = before


def _refused() -> Any:
    raise RuntimeError("somebody else holds this study's lease")


# ---- by the verbs


def _by_verbs(seed: int) -> Iterator[tuple[str, str]]:
    """One damage of each kind: the verbs take about 20 seconds, and their functions met all of the damages."""
    chance = random.Random(seed)
    with studies.place(cpus=1) as place:
        _search(place)
        shutil.copytree(place.kept, place.root / "whole")
        wanted = _resume(place)
        _put_back(place)
        going_on, finished = _going_on(place), _finished(place)
        for kind, files in kinds(place.kept, going_on, finished).items():
            damage = chance.choice([*damages(place.kept, chance.choice(files), chance, CUTS, FLIPS)])
            (place.kept / damage.file).write_bytes(damage.data)
            try:
                fault = fault_of(wanted, _resume(place), damage, place.kept)
            except RuntimeError as error:  # a verb that did not exit with 0
                fault = f"{damage.file} {damage.how}: {str(error)[-300:]}"
            _put_back(place)
            yield f"{kind} (by the verbs)", fault


def _search(place: studies.Place) -> None:
    """Three trials, the last of them killed with its driver when it had two epochs."""
    child = place.search("--trials", 3, "--scheduler", "fifo")
    trials = place.kept / "trials"

    def third_has_two() -> bool:
        found = [TrialFolder(path).record() for path in trials.iterdir()] if trials.is_dir() else []
        done = sorted(record.epochs_done for record in found if record is not None)
        return len(done) == 3 and 2 <= done[0] < studies.EPOCHS

    studies.eventually(third_has_two, "the third trial's second epoch", child=child)
    child.kill_all()


def _resume(place: studies.Place) -> LedgerOutcome:
    said, scores = [], []
    verbs: list[Callable[[], studies.Child]] = [
        lambda: place.start("show_trials.py", studies.NAME, "--json"),
        place.resume,
        lambda: place.start("export_ensemble.py", place.yaml, "--top", 2, "--to", place.root / "to", "--json"),
        lambda: place.start("show_trials.py", studies.NAME, "--json"),
    ]
    for start in verbs:
        child = start()
        value = child.json()
        said.append(child.said)
        if isinstance(value, list):
            scores.append([(row["trial_id"], row["score"]) for row in value])
    return LedgerOutcome(
        results(place.kept), scores[0], scores[1], (place.root / "to/submission.csv").read_bytes(), "\n".join(said)
    )


def _put_back(place: studies.Place) -> None:
    shutil.rmtree(place.kept)
    shutil.copytree(place.root / "whole", place.kept)


def _going_on(place: studies.Place) -> TrialFolder:
    return next(folder for folder, record in _read(place) if not record.ended)


def _finished(place: studies.Place) -> TrialFolder:
    """The finished trial whose best weights no checkpoint holds any more comes last: it is the harder one."""
    ended = [(folder, record) for folder, record in _read(place) if record.ended]
    return min(ended, key=lambda pair: pair[1].best_epoch or 0)[0]


def _read(place: studies.Place) -> list[tuple[TrialFolder, Record]]:
    folders = [TrialFolder(path) for path in sorted((place.kept / "trials").iterdir())]
    return [(folder, record) for folder in folders if (record := folder.record()) is not None]
