"""What may happen to a ledger and to its index, one change at a time; for tests, and for the processes that they start."""

import json
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ledger.index.sqlite import index_file
from ledger.query import leaderboard
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import ALL_DATA, Record, TrialFolder
from system.claims import Holder, place
from system.files import replace_bytes, replace_json
from system.paths import CompetitionPaths

NAMES = [f"{number:012x}" for number in range(6)]
TARGETS, SPLITS, STUDIES = ("age", "mask"), ("people", "random"), ("day", "night")
EVENTS = ("started", "rung", "pruned", "stopped", "finished", "diverged", "failed")
Step = Callable[[CompetitionPaths, random.Random], None]


def write_trial(paths: CompetitionPaths, rng: random.Random) -> None:
    """A new trial, or a new record of one that is there."""
    folder = TrialFolder(paths.trials / rng.choice(NAMES))
    split, fold = rng.choice(SPLITS), rng.choice((0, 0, ALL_DATA))
    folder.write_config(
        {
            "target": rng.choice(TARGETS),
            "data": f"d {split}",
            "metric": "f1",
            "split": split,
            "fold": fold,
            "seed": rng.randrange(2),
        }
        | {"epochs": 3, "lr": rng.choice((0.1, 0.2))}
    )
    if rng.random() < 0.5:
        folder.write_record(a_record(folder, rng))
    elif rng.random() < 0.7:  # as before there were seals: an edit in place is then no damage
        replace_json(folder.path / "record.json", asdict(a_record(folder, rng)))


def a_record(folder: TrialFolder, rng: random.Random) -> Record:
    config, done = folder.config(), rng.choice((1, 3, 3))
    score = None if config["fold"] == ALL_DATA else rng.choice((0.25, 0.5, 0.75))
    return Record(
        folder.id,
        f"member {config['lr']}",
        config["target"],
        config["fold"],
        config["seed"],
        config["epochs"],
        epochs_done=done,
        score=score,
        best_epoch=None if score is None else 1,
        curve=[] if score is None else [score] * done,
        diverged=rng.random() < 0.2,
        weights=rng.choice((None, "w")),
        seconds=rng.choice((1.0, 2.5)),
        author=rng.choice(("jin", "소라")),
        host="node",
    )


def some_trial(paths: CompetitionPaths, rng: random.Random) -> Path | None:
    return rng.choice(sorted(paths.trials.iterdir()) or [None]) if paths.trials.is_dir() else None


def some_record(paths: CompetitionPaths, rng: random.Random) -> Path | None:
    found = sorted(paths.trials.glob("*/record.json"))
    return rng.choice(found) if found else None


def edit_in_place(paths: CompetitionPaths, rng: random.Random) -> None:
    """Same inode, same size, and as far as a user can put it back the same time."""
    if path := some_record(paths, rng):
        before = path.stat()
        with open(path, "r+b") as file:
            file.write(path.read_bytes().replace(b'"seconds": 1.0', b'"seconds": 3.0').replace(b"jin", b"kim"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_an_older_one_back(paths: CompetitionPaths, rng: random.Random) -> None:
    if path := some_record(paths, rng):
        aside = paths.root / "aside.json"
        shutil.copy2(path, aside)
        TrialFolder(path.parent).write_record(a_record(TrialFolder(path.parent), rng))
        leaderboard(paths)
        os.utime(aside, (1, 1))
        shutil.copy2(aside, path)


def remove_trial(paths: CompetitionPaths, rng: random.Random) -> None:
    if path := some_trial(paths, rng):
        shutil.rmtree(path)


def remove_record(paths: CompetitionPaths, rng: random.Random) -> None:
    if path := some_record(paths, rng):
        path.unlink()


def spoil_record(paths: CompetitionPaths, rng: random.Random) -> None:
    if path := some_record(paths, rng):
        path.write_bytes(rng.choice((b"", path.read_bytes()[:40], b'{"trial_id": "x"}')))


def rename_trial(paths: CompetitionPaths, rng: random.Random) -> None:
    path, name = some_trial(paths, rng), rng.choice(NAMES)
    if path and not (paths.trials / name).exists():
        path.rename(paths.trials / name)


def suggest(paths: CompetitionPaths, rng: random.Random) -> None:
    """A suggestion, in a study that may be new."""
    study = StudyFolder(paths.studies / rng.choice(STUDIES))
    if not study.planned:
        study.write_plan({"trials": 3})
    study.write_suggestion(Suggestion(rng.randrange(1, 5), rng.choice(TARGETS), rng.choice(NAMES), {"lr": 0.1}))


def log_event(paths: CompetitionPaths, rng: random.Random) -> None:
    study = StudyFolder(paths.studies / rng.choice(STUDIES))
    if study.planned:
        study.log(rng.choice(EVENTS), rng.choice(NAMES), epoch=1)


def kill_driver(paths: CompetitionPaths, rng: random.Random) -> None:
    """A study is left as by a driver that was killed, or its lease is taken away by the next one."""
    study = StudyFolder(paths.studies / rng.choice(STUDIES))
    if study.lease.exists():
        study.lease.unlink()
    elif study.planned:
        leave_lease(study)


def leave_lease(study: StudyFolder) -> None:
    """What a driver of this machine that was killed leaves behind."""
    dead = Holder("node", 2**22 + 1, "2026-11-29", 3, "token", place(), 1.0)
    study.lease.write_bytes(json.dumps(asdict(dead)).encode())


def spoil_study(paths: CompetitionPaths, rng: random.Random) -> None:
    """An event is damaged in its place, or a suggestion replaced by a damaged one."""
    study = paths.studies / rng.choice(STUDIES)
    found = [*study.glob("events.jsonl"), *study.glob("suggestions/0*.json")]
    if found:
        path = rng.choice(sorted(found))
        damaged = path.read_bytes().replace(b"trial_id", b"trial_ie", 1)
        path.write_bytes(damaged) if path.name == "events.jsonl" else replace_bytes(path, damaged)


def remove_study(paths: CompetitionPaths, rng: random.Random) -> None:
    if (path := paths.studies / rng.choice(STUDIES)).exists():
        shutil.rmtree(path)


def garble_index(paths: CompetitionPaths, rng: random.Random) -> None:
    if (path := index_file(paths)).exists():
        size = path.stat().st_size
        with open(path, "r+b") as file:
            for _ in range(rng.choice((1, 200))):
                file.seek(rng.randrange(size))
                file.write(rng.randbytes(rng.choice((1, 16))))


def truncate_index(paths: CompetitionPaths, rng: random.Random) -> None:
    if (path := index_file(paths)).exists():
        os.truncate(path, rng.randrange(path.stat().st_size))


def edit_index(paths: CompetitionPaths, rng: random.Random) -> None:
    if (path := index_file(paths)).exists():
        said = rng.choice(("DROP TABLE asked", "UPDATE trial SET score = 1", "DELETE FROM settings", "PRAGMA user_version = 999"))
        database = sqlite3.connect(path)
        with suppress(sqlite3.DatabaseError), database:  # one that was garbled before cannot be edited
            database.execute(said)
        database.close()


def remove_index(paths: CompetitionPaths, rng: random.Random) -> None:
    index_file(paths).unlink(missing_ok=True)


STEPS: list[Step] = [
    write_trial, write_trial, write_trial, edit_in_place, put_an_older_one_back, remove_trial, remove_record, spoil_record,
    rename_trial, suggest, suggest, log_event, log_event, kill_driver, spoil_study, remove_study, garble_index, truncate_index,
    edit_index, remove_index,
]  # fmt: skip


def main() -> None:
    """Change the ledger `argv[1]` (or for `ask` nothing) and ask, until killed."""
    paths, rng = CompetitionPaths(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
    print("ready", flush=True)
    while True:
        if sys.argv[3] == "write":
            rng.choice((write_trial, write_trial, suggest, log_event))(paths, rng)
        leaderboard(paths)


if __name__ == "__main__":
    main()
