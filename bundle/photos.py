"""Which photos a bundle is asked about: a folder, or a table's rows, as N different ids, their paths and their groups."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from competitions.answers import RowPattern
from competitions.csv_tables import parse_table, separator_faults
from competitions.images.decode import ENDINGS, split_member
from competitions.images.photo_files import PhotoListing, find_files, list_photos, passed_over, several_faults
from system.errors import UserError, unknown


def find_photos(root: Path) -> PhotoListing:
    """Every photo below `root` as the readers of training data list them, and what is passed over.

    Raises:
        UserError: There is no such folder, or no photo in it.
    """
    if not root.is_dir():
        raise UserError(f"PHOTOS must be a folder, got {root}, which is not there")
    listing = list_photos(root)
    if not listing.photos:
        raise UserError(
            f"PHOTOS must hold image files ({', '.join(sorted(ENDINGS))}), {root} has none", *passed_over(listing.passed_over)
        )
    return listing


def places_below(root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Paths as the file system spells them, with the endings they may lack; refused where a photo is not there.

    A prior is for photos that cannot be read, not for a wrong folder.

    Raises:
        UserError: With how many, examples, and what is there instead.
    """
    if not root.is_dir():
        raise UserError(f"PHOTOS must be a folder, got {root}, which is not there")
    files = [split_member(path)[0] for path in paths]  # an archive's row is found by its archive
    found = find_files(root, files)
    missing = found.missing(files)
    if missing:
        from competitions.images.elsewhere import what_is_there  # here, so that a bundle opens without it

        raise UserError(
            f"{len(missing)} of {len(paths)} photos are not below {root}, e.g. {', '.join(missing[:3])}; PHOTOS must be the folder "
            "that the paths in --ids start from (--path-column names them where they are not the ids)",
            *what_is_there(root, missing),
        )
    if found.several:
        raise UserError(*several_faults(found.several))
    pairs = zip(paths, files, found.paths, strict=True)
    return tuple(f"{place}{path[len(file) :]}" for path, file, place in pairs)


def without_endings(photos: Sequence[str]) -> tuple[str, ...]:
    """The ids of N photos in a competition whose ids have no ending: their paths without it.

    Raises:
        UserError: Two photos would have one id.
    """
    ids = tuple(photo.removesuffix(PurePosixPath(photo).suffix) for photo in photos)
    means: dict[str, list[str]] = {}
    for image_id, photo in zip(ids, photos, strict=True):
        means.setdefault(image_id, []).append(photo)
    if faults := several_faults({image_id: some for image_id, some in means.items() if len(some) > 1}):
        raise UserError(*faults)
    return ids


@dataclass(frozen=True)
class PhotoTable:
    """Which photos are asked for: ids in their order, their paths, and where a column names them their groups, and what has one row."""

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None


def read_ids(
    path: Path, column: str, path_column: str | None = None, group_column: str | None = None, unit_column: str | None = None
) -> PhotoTable:
    """The photos in a table, in its order; paths are the ids where no column is named.

    Raises:
        UserError: No such file or column, no CSV file, an empty table, an id that stands twice, or a path that leaves the folder.
    """
    from system.texts import alike, first_spellings, told_alike  # here, so that a bundle opens without it

    must = f"--ids must be a CSV in UTF-8 with a column {column!r}"
    try:
        found, torn = parse_table(path)
    except OSError as error:
        raise UserError(f"{must}, got {path} ({error})") from error
    except UserError as error:
        raise UserError(*(f"{must}, got {path}: {fault}" for fault in error.faults)) from error
    absent = [
        unknown("column", name, found.columns) + f"; {path.name} needs it"
        for name in (column, path_column, group_column, unit_column)
        if name and name not in found.columns
    ]
    if absent:
        raise UserError(*absent, *separator_faults(found))
    ids, places = found.columns[column], found.columns[path_column or column]
    twice = sorted(name for name, n in Counter(ids).items() if n > 1)
    outside = [place for place in places if not place or place.startswith("/") or ".." in Path(place).parts]
    faults = [f"{path.name}: {fault}" for fault in torn] + ([] if ids else [f"{path.name} has no rows"])
    faults += [f"ids must differ, {i!r} stands twice" for i in twice[:10]]
    faults += [f"photos must be paths below PHOTOS, got {place!r}" for place in outside[:10]]
    same = [told_alike(some) for some in alike(ids)]
    faults += [f"ids must differ to the eye, {text} do not" for text in same[:10]]
    if faults:
        raise UserError(*faults)
    groups = None
    if group_column:
        first = first_spellings(found.columns[group_column])
        groups = tuple(first.get(g, g) or image_id for g, image_id in zip(found.columns[group_column], ids, strict=True))
    return PhotoTable(ids, places, groups, found.columns[unit_column] if unit_column else None)


def one_row_each(table: PhotoTable, rows: RowPattern, headers: Sequence[str]) -> PhotoTable:
    """A table that may have a photo's several rows as one with a row for each; of a photo the first row counts."""
    parted = rows.apart(table.ids, headers)
    if any(part is None for part in parted):
        return table
    plain = table.paths == table.ids
    first: dict[str, int] = {}
    for row, part in enumerate(parted):
        first.setdefault(part[0] if part else "", row)
    ids, kept = tuple(first), list(first.values())
    groups = None if table.groups is None else tuple(table.groups[row] for row in kept)
    return PhotoTable(ids, ids if plain else tuple(table.paths[row] for row in kept), groups, table.units)
