"""A local SQLite copy of what the trial and study folders say, for questions that would otherwise open every folder.

The folders are the truth. Each query looks at all of them (`ledger.index.signatures`), reads again what has changed since the copy was
made, and is answered from a database that then says what they say. Without a copy that can be used (none yet, another schema, damaged,
a folder that cannot be written) the database is built in memory: slower, never wrong.

The file is never changed in place. Whoever found changes puts a new one beside and replaces it, so there are no locks, a reader has the
old file or the new one, and a writer that is killed leaves a good file. Two who do so at once: the last one stays, and what only
the other had seen is read again. Its mtime is a number that stands inside as well: a file that anything else wrote into has another.
"""

import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from ledger.index.rows import INDEX_SCHEMA, TABLES, Entry, StudyRows, read_study, read_trial
from ledger.index.signatures import Signature, pack, study_signatures, trial_signatures, unpack
from ledger.studies import StudyFolder
from ledger.trials import TrialFolder
from system.files import fingerprint
from system.paths import CompetitionPaths

log = logging.getLogger("podium.ledger")
Answer = TypeVar("Answer")
TRIAL = Entry._fields[:-2]


def ask(paths: CompetitionPaths, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
    """The answer to a question about what the folders say now.

    Args:
        paths: The competition's folders.
        question: Gets a database with the tables of `ledger.index.rows.TABLES`, which it only reads.
    """
    try:
        with closing(_current(paths, _opened(index_file(paths)))) as database:
            return question(database)
    except sqlite3.DatabaseError as error:  # damage that its mtime did not tell
        log.debug("the index of %s is built anew: %s", paths.root.name, error)
    with closing(_current(paths, None)) as database:
        return question(database)


def index_file(paths: CompetitionPaths) -> Path:
    """Where the copy is kept: one per storage folder and host, as inodes and times of a shared mount may differ between hosts."""
    key = fingerprint([str(paths.root.resolve()), os.uname().nodename])
    return paths.cache().absolute() / f"index-{key}.sqlite"


def _opened(file: Path) -> sqlite3.Connection | None:
    """The kept copy, to be read only; `None` where there is none, or one that something else wrote into."""
    try:
        stamp = file.stat().st_mtime_ns
        database = sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)
    except (OSError, sqlite3.Error):
        return None
    try:
        if _pragma(database, "user_version") == INDEX_SCHEMA and _pragma(database, "application_id") * 10**9 == stamp:
            return database
    except sqlite3.DatabaseError as error:
        log.debug("%s: %s", file.name, error)
    database.close()
    return None


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _current(paths: CompetitionPaths, kept: sqlite3.Connection | None) -> sqlite3.Connection:
    """A database that says what the folders say: `kept` where that still does, else a copy of it in memory with the changes."""
    database = kept or _empty()
    try:
        changes = _changes(paths, database)
    except BaseException:
        database.close()
        raise
    if changes is None:
        return database
    with closing(database):
        changed = sqlite3.connect(":memory:")
        database.backup(changed)
    changes.apply(changed)
    _keep(changed, index_file(paths))
    return changed


def _empty() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.executescript(TABLES)
    database.execute("INSERT INTO swept VALUES (?, ?)", pack({}))
    database.execute(f"PRAGMA user_version = {INDEX_SCHEMA}")
    database.commit()
    return database


@dataclass(frozen=True)
class _Changes:
    """What a database must take in.

    Attributes:
        signatures: Of all trials, as they are to be kept.
        entries: Trial -> its new row; `None` for one that is gone or cannot be read.
        studies: Study -> its new rows and those it had; `None` for one that is gone.
    """

    signatures: dict[str, Signature]
    entries: dict[str, Entry | None]
    studies: dict[str, tuple[StudyRows | None, StudyRows]]

    def apply(self, database: sqlite3.Connection) -> None:
        with database:
            database.execute("UPDATE swept SET names = ?, signatures = ?", pack(self.signatures))
            gone = [(trial,) for trial in self.entries]
            database.executemany("DELETE FROM settings WHERE n = (SELECT n FROM trial WHERE trial_id = ?)", gone)
            database.executemany("DELETE FROM trial WHERE trial_id = ?", gone)
            for entry in filter(None, self.entries.values()):
                number = database.execute(f"INSERT INTO trial VALUES (NULL{', ?' * len(TRIAL)})", entry[:-2]).lastrowid
                database.execute("INSERT INTO settings VALUES (?, ?, ?)", (number, *entry[-2:]))
            for name, (now, before) in self.studies.items():
                _put_study(database, name, now, before)


def _put_study(database: sqlite3.Connection, name: str, now: StudyRows | None, before: StudyRows) -> None:
    """Only rows that differ are written: a running study changes by one trial at a time."""
    database.execute("DELETE FROM study WHERE name = ?", (name,))
    if now is not None:
        database.execute("INSERT INTO study VALUES (?, ?)", (name, now.signatures))
    statuses, files = (now.statuses, now.suggestions) if now else ({}, {})
    database.executemany(
        "DELETE FROM asked WHERE study = ? AND trial_id = ?", [(name, t) for t in before.statuses.keys() - statuses]
    )
    database.executemany(
        "DELETE FROM suggestion WHERE study = ? AND file = ?", [(name, f) for f in before.suggestions.keys() - files]
    )
    new = [(trial, name, status) for trial, status in statuses.items() if before.statuses.get(trial) != status]
    database.executemany("INSERT OR REPLACE INTO asked VALUES (?, ?, ?)", new)
    read = [(name, file, *kept) for file, kept in files.items() if before.suggestions.get(file) != kept]
    database.executemany("INSERT OR REPLACE INTO suggestion VALUES (?, ?, ?, ?)", read)


def _changes(paths: CompetitionPaths, database: sqlite3.Connection) -> _Changes | None:
    """What the database does not say yet; `None` where that is nothing."""
    packed = database.execute("SELECT names, signatures FROM swept").fetchone()
    seen = trial_signatures(paths.trials)
    entries: dict[str, Entry | None] = {}
    if pack(seen) != packed:
        kept = unpack(*packed)
        entries = dict.fromkeys(kept.keys() - seen.keys())
        for trial in [trial for trial, now in seen.items() if kept.get(trial) != now]:
            entry, seen[trial] = read_trial(TrialFolder(paths.trials / trial))
            if seen[trial] != kept.get(trial) or entry != _entry(database, trial):
                entries[trial] = entry
    studies = dict(_changed_studies(paths, database))
    return _Changes(seen, entries, studies) if entries or studies else None


def _entry(database: sqlite3.Connection, trial: str) -> tuple[object, ...] | None:
    query = f"SELECT {', '.join(Entry._fields)} FROM trial JOIN settings USING (n) WHERE trial_id = ?"
    row: tuple[object, ...] | None = database.execute(query, (trial,)).fetchone()
    return row


def _changed_studies(
    paths: CompetitionPaths, database: sqlite3.Connection
) -> Iterator[tuple[str, tuple[StudyRows | None, StudyRows]]]:
    kept = dict(database.execute("SELECT name, signatures FROM study"))
    seen = study_signatures(paths.studies)
    for name in kept.keys() - seen.keys():
        yield name, (None, _study(database, name, ""))
    for name in [name for name, signatures in seen.items() if kept.get(name) != json.dumps(signatures)]:
        before = _study(database, name, kept.get(name, ""))
        now = read_study(StudyFolder(paths.studies / name), before.suggestions)
        if now != before:
            yield name, (now, before)


def _study(database: sqlite3.Connection, name: str, signatures: str) -> StudyRows:
    files = database.execute("SELECT file, signature, trial_id FROM suggestion WHERE study = ?", (name,))
    statuses = database.execute("SELECT trial_id, status FROM asked WHERE study = ?", (name,))
    return StudyRows(signatures, {file: (signature, trial) for file, signature, trial in files}, dict(statuses))


def _keep(database: sqlite3.Connection, file: Path) -> None:
    """Put the database where the next question finds it. Not forced to the disk: it can be made again."""
    stamp = 2 + int.from_bytes(os.urandom(3)) * 64  # whole, even seconds: every file system can hold them
    beside = file.with_name(f".{file.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for leftover in file.parent.glob(f".{file.name}.*.tmp"):  # of a killed writer; one that lives misses its turn
            leftover.unlink(missing_ok=True)
        database.execute(f"PRAGMA application_id = {stamp}")
        with closing(sqlite3.connect(beside)) as copied:
            copied.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            database.backup(copied)
        os.utime(beside, (stamp, stamp))
        os.replace(beside, file)
    except FileNotFoundError:
        log.debug("another process keeps %s", file.name)
    except (OSError, sqlite3.Error) as error:
        _say_once(file, str(error))
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@cache
def _say_once(file: Path, why: str) -> None:
    """Once per process: whoever waits for an answer should know why it took so long."""
    log.info("the index %s cannot be kept (%s); answers come from the folders, which takes longer", file.name, why)
