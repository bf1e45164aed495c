"""Two ledgers' imports -> all of them, each once. The same id is the same answers; of two sources of them the one with the smaller
fingerprint is told. Different answers under one name are both kept: `ledger.imports` tells such names apart wherever it reads them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger.imports import SOURCE, Import, predictions_of, read_import
from ledger.merge.predictions import unite_parts
from ledger.reading import DAMAGE
from system.files import fingerprint, read_json, replace_sealed
from system.paths import CompetitionPaths

Damaged = Callable[[Path, str], object]


def bring_imports(ours: CompetitionPaths, theirs: CompetitionPaths, damaged: Damaged) -> list[dict[str, Any]]:
    """Bring the imports of another ledger.

    Args:
        ours: Written to.
        theirs: Read.
        damaged: Told (file, why) of what was left out.

    Returns:
        `id`, `name`, `author` and `what` (`new`, or `renamed` where ours is told by their source now) of each that changed.
    """
    brought = []
    for path in sorted(theirs.imports.glob(f"*/{SOURCE}")):
        try:
            imported = read_import(path.parent)
        except DAMAGE as error:
            damaged(path, str(error))
            continue
        if fault := imported.fault():
            damaged(path.parent, fault)
        elif what := _bring(ours, imported):
            brought.append({"id": imported.id, "name": imported.name, "author": imported.source.author, "what": what})
    return brought


def _bring(ours: CompetitionPaths, imported: Import) -> str | None:
    """Unite an import that is whole with ours; what was changed, if anything."""
    place = ours.imports / imported.id
    for head in imported.heads:
        unite_parts(predictions_of(place, head).folder, predictions_of(imported.folder, head).folder, lambda path, why: None)
    theirs, present = read_json(imported.folder / SOURCE), _present(place)
    if present is None or fingerprint(theirs) < fingerprint(present):
        replace_sealed(place / SOURCE, theirs)
        return "new" if present is None else "renamed"
    return None


def _present(place: Path) -> Any:
    """What our `source.json` says; `None` where there is none, or it is damaged: the other one takes its place."""
    try:
        read_import(place)
        return read_json(place / SOURCE)
    except (FileNotFoundError, *DAMAGE):
        return None
