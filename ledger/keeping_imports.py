"""Keeping imports: answers and where they are from -> `imports/<id>/`; names that cannot be had; dropping one (see `ledger.imports`)."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from ledger.imports import SOURCE, VIEW, Answers, Import, Source, content_id, find_import, imports_of, in_order, predictions_of
from system.errors import UserError
from system.files import replace_sealed, sweep
from system.paths import CompetitionPaths, check_name

_RESERVED = re.compile(r"[0-9a-f]{12}|.+@[^@]*-[0-9a-f]{8}")


def name_faults(paths: CompetitionPaths, wanted: Mapping[str, str], *, replacing: bool) -> list[str]:
    """Why imports cannot have their names.

    Args:
        paths: The competition's folders.
        wanted: Name -> id of the import that is to have it.
        replacing: Whether an import that has the name already makes room.
    """
    known, faults = imports_of(paths), list[str]()
    for name, own in wanted.items():
        try:
            check_name("import", name)
        except UserError as error:
            faults += [f"{fault}; give one with --name" for fault in error.faults]
        if _RESERVED.fullmatch(name):
            faults.append(f"import names must not look like an id, or like the names of two that had one name, got {name!r}")
        taken = [one for one in known if name in (one.name, one.source.name) and one.id != own]
        kept = any(one.id == own for one in known)
        if taken and (len(taken) > 1 if replacing else not kept):
            told = ", ".join(f"{one.id} ({', '.join(file.name for file in one.source.files)})" for one in taken)
            way = "drop one of them" if len(taken) > 1 else "give another with --name, or --replace it"
            faults.append(f"import names must be new, {name!r} has other answers already: {told}; {way}")
    return faults


def write_import(
    paths: CompetitionPaths, answers: Mapping[str, Answers], source: Source, *, replacing: bool = False
) -> tuple[Import, bool]:
    """Keep answers; the same ones are kept once, under the name they had first.

    Args:
        paths: The competition's folders.
        answers: What is told, by head.
        source: Where it is from; `imported` is filled in.
        replacing: Take the name from an import that has it, which is dropped, and tell of `source` where the answers are kept already.

    Returns:
        The import, and whether its answers are new here.

    Raises:
        FullDiskError: There is no room; what was there stays.
        UserError: The name cannot be had.
    """
    own = content_id(answers)
    faults = name_faults(paths, {source.name: own}, replacing=replacing)
    if faults:
        raise UserError(*faults)
    known = imports_of(paths)
    same = next((one for one in known if one.id == own), None)
    for head, told in answers.items():  # those that are there as well: arrays may be damaged, and photos have other pixels by now
        for part, rows in told.parts.items():
            photos, probs = in_order(rows)
            predictions_of(paths.imports / own, head).write(part, head, VIEW, photos, probs)
    if same is None or replacing:
        _write_source(paths.imports / own, answers, replace(source, imported=datetime.now(UTC).isoformat(timespec="seconds")))
        for old in known:
            if old.id != own and source.name in (old.name, old.source.name):
                _remove(old.folder)
    return next(one for one in imports_of(paths) if one.id == own), same is None


def drop_import(paths: CompetitionPaths, name: str) -> Import:
    """Remove the import with this name or id; a team-mate's copy comes back with the next merge.

    Raises:
        UserError: There is none.
    """
    dropped = find_import(paths, name)
    _remove(dropped.folder)
    return dropped


def _write_source(folder: Path, answers: Mapping[str, Answers], source: Source) -> None:
    heads = {
        head: {"kind": told.kind, "classes": told.classes, "photos": {part: len(rows[0]) for part, rows in told.parts.items()}}
        for head, told in answers.items()
    }
    sweep(folder)
    replace_sealed(folder / SOURCE, {"id": folder.name, "heads": heads, **asdict(source)})


def _remove(folder: Path) -> None:
    (folder / SOURCE).unlink(missing_ok=True)
    shutil.rmtree(folder)
