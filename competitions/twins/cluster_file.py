"""Files of groups: a CSV with a photo's id and its cluster per row, as `prepare_data.py --propose-split` writes it and people mend it."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from competitions.competition import Competition, Split
from competitions.manifest import Manifest
from system.errors import UserError, listed
from system.files import file_hash, replace_bytes
from system.paths import CompetitionPaths

HEADER = ("image", "cluster")
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Clusters:
    """What a split may not separate, beside groups.

    Attributes:
        names: N names in manifest order; empty for photos that are no usable training photos.
        note: Which file says so, with its hash, for the record of the preparation.
    """

    names: tuple[str, ...]
    note: str


def matched_file(paths: CompetitionPaths, n_folds: int) -> Path:
    """Where the clusters of a matched split with so many folds are kept."""
    return paths.data / "matched" / f"{n_folds}.csv"


def write_clusters(path: Path, clusters: Mapping[str, str]) -> None:
    """Photo id -> cluster, in the order of ids; the same clusters give the same bytes."""
    replace_bytes(path, _table(clusters))


def keep_clusters(paths: CompetitionPaths, n_folds: int, clusters: Mapping[str, str]) -> dict[str, str]:
    """Write them where none are kept for so many folds: a file that trials may rest on is never replaced.

    Returns:
        JSON values: `file`, relative to the competition's storage, and `kept`, a sentence.
    """
    path = matched_file(paths, n_folds)
    name = path.relative_to(paths.root).as_posix()
    if not path.exists():
        write_clusters(path, clusters)
        return {"file": name, "kept": f"kept in {name}"}
    before = path.read_bytes()
    same = before == _table(clusters)
    other = "it holds these clusters" if same else "it holds other clusters, delete it and look again to have these"
    return {"file": name, "kept": f"{name} was there and stays: {other}"}


def unmatched(competition: Competition, n_folds: int) -> Competition:
    """The competition with a split that needs no clusters, to look for some: its own, or folds in place of matched ones."""
    split = competition.split
    if split.matched is None:
        return competition
    return competition.model_copy(update={"split": Split(name=split.name, folds=n_folds, seed=split.seed)})


def read_clusters(file: Path, competition: str, split: Split, manifest: Manifest, usable: NDArray[np.bool_]) -> Clusters:
    """The clusters of a split, photo by photo; a name in the second column's place left empty means that the photo stands alone.

    Args:
        file: A CSV with a header; its first column holds ids, its second names. Ids of other photos do not matter.
        competition: Its name.
        split: It names the file.
        manifest: N photos.
        usable: `(N,) bool`: photos that could be decoded; each of them that is for training must have a row.

    Raises:
        UserError: There is no such file, it is no such table, or photos are missing.
    """
    find = f"find clusters with `prepare_data.py {competition} --propose-split {split.n_folds}`"
    if not file.is_file():
        if split.matched is not None:
            raise UserError(f"split {split.name} is matched, and nobody has looked for its clusters yet; {find}")
        raise UserError(
            f"split {split.name}: groups must be a CSV below the root, {split.groups} is not there; put it there, or {find}"
        )
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))[1:]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file.name} is not CSV in UTF-8 ({error}); save it anew, or delete it and {find}") from error
    narrow = [str(number) for number, row in enumerate(rows, 2) if row and len(row) < 2]
    given = [(row[0], row[1]) for row in rows if len(row) > 1]
    known = dict(given)
    faults = [f"{file.name} must have an id and a cluster in each row, rows {listed(narrow)} have less"] if narrow else []
    if len(known) < len(given):
        faults.append(f"{file.name} must name each photo once, these stand twice: {listed(_twice([i for i, _ in given]))}")
    taught = usable & np.array([role == "train" for role in manifest.roles], dtype=bool)
    asked = [image_id for image_id, kept in zip(manifest.image_ids, taught, strict=True) if kept]
    missing = [image_id for image_id in asked if image_id not in known]
    if missing:
        faults.append(
            f"{file.name} must name every training photo, {len(missing)} of {len(asked)} are missing ({listed(missing, 5)}); add rows"
            f" for them, or delete it and {find}"
        )
    if faults:
        raise UserError(*(f"split {split.name}: {fault}" for fault in faults))
    names = tuple(
        (known[image_id] or f"~{image_id}") if kept else "" for image_id, kept in zip(manifest.image_ids, taught, strict=True)
    )
    n_clusters = len({name for name in names if name})
    note = f"split {split.name} keeps {n_clusters} clusters whole, of {file.name} ({file_hash(file)[:SHOWN_DIGITS]})"
    return Clusters(names, note)


def _table(clusters: Mapping[str, str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(sorted(clusters.items()))
    return text.getvalue().encode()


def _twice(ids: Sequence[str]) -> list[str]:
    return sorted(image_id for image_id, n in Counter(ids).items() if n > 1)
