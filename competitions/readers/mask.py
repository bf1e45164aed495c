"""Layout `mask`: the mask competition as it is handed out, seven photos of each person named by what they show.

    train/train.csv                                          id, gender, race, age, path; one row per person
    train/images/<path>/{mask1..mask5,incorrect_mask,normal}.<image ending>      <path> = <id>_<gender>_<race>_<age>
    eval/info.csv                                            ImageID
    eval/images/<ImageID>

Tasks read the columns mask (wear, incorrect, normal: from the photo's name), gender, age (a number; cut it with `cuts`) and race.
The group is the person's id. A training photo's id is its path below `train/images` in NFC, a test photo's its ImageID.

Stops, all at once: a folder that is missing or whose name is not what its row says, one of the seven photos missing or there twice,
a photo of another name. Does not stop: hidden files (`._mask1.jpg`), files without an image ending, folders that no row names (so a
wrong person is left out by deleting the row), upper case, either Unicode form. An id that stands with two ages or genders does not
stop either: folder and row agree, each photo keeps its row's label, and one id is one group; `prepare_data.py` lists it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from competitions.competition import Competition
from competitions.csv_tables import Table, read_table
from competitions.images.photo_files import list_photos, passed_over
from competitions.manifest import Manifest
from competitions.readers.photo_paths import folders_in, place_files, require_root, twin_faults
from competitions.readers.rows import PhotoRows, manifest_of
from system.errors import UserError, listed, unknown
from system.texts import utf8_faults

SHOWS = {**{f"mask{k}": "wear" for k in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "normal"}
"""The seven photos of a person -> the mask's state."""
PERSON = ("id", "gender", "race", "age", "path")
ANSWER_COLUMNS = ("mask", "gender", "age", "race")
TRAIN, PEOPLE, EVAL = "train/train.csv", "train/images", "eval/info.csv"


def read_mask(competition: Competition, root: Path) -> Manifest:
    """The mask competition's own layout below the root.

    Raises:
        UserError: With every fault of the tables, the people's folders and their photos.
    """
    require_root(competition, root)
    faults = [
        f"tasks.{name}.column: {unknown('column', task.column, ANSWER_COLUMNS)}"
        for name, task in competition.tasks.items()
        if task.column not in ANSWER_COLUMNS
    ]
    faults += [f"there is no file {name} in {root}; check `root` in the YAML, or the upload" for name in _missing(root)]
    if faults:
        raise UserError(*faults)
    people = read_table(root / TRAIN, {f"the mask layout ({c})": c for c in PERSON}, name=TRAIN)
    asked = read_table(root / EVAL, {"the mask layout": "ImageID"}, name=EVAL).columns["ImageID"]
    persons, photos, notes = _training_photos(root / PEOPLE, people, faults)
    answers = {column: tuple(person[column] for person in persons) for column in ("gender", "age", "race")}
    answers["mask"] = tuple(SHOWS[_stem(photo)] for photo in photos)
    none = ("",) * len(asked)
    rows = PhotoRows(
        name="the mask layout",
        ids=(*(normalize("NFC", photo) for photo in photos), *asked),
        paths=(*(f"{PEOPLE}/{photo}" for photo in photos), *(f"eval/images/{name}" for name in asked)),
        groups=(*(person["id"] for person in persons), *none),
        roles=("train",) * len(photos) + ("test",) * len(asked),
        fields={name: answers[task.column] + none for name, task in competition.tasks.items()},
        notes=notes,
    )
    return manifest_of(competition, rows, root, place_files, faults)


def _missing(root: Path) -> list[str]:
    return [name for name in (TRAIN, EVAL) if not (root / name).is_file()] + [n for n in (PEOPLE,) if not (root / n).is_dir()]


def _training_photos(top: Path, people: Table, faults: list[str]) -> tuple[list[Mapping[str, str]], list[str], list[str]]:
    """Per photo its person's row and its path below `top`, in the order of the table, then of `SHOWS`; and what was passed over."""
    rows = [dict(zip(PERSON, values, strict=True)) for values in zip(*(people.columns[c] for c in PERSON), strict=True)]
    folders = folders_in(top)
    spelled = {normalize("NFC", name): name for name in folders}
    faults += utf8_faults(folders, f"folders in {PEOPLE}") + twin_faults(folders, PEOPLE)
    faults += _people_faults(rows, spelled)
    persons, photos = list[Mapping[str, str]](), list[str]()
    lacking, strange, twice, others = list[str](), list[str](), list[str](), list[str]()
    for row in rows:
        folder = spelled.get(normalize("NFC", row["path"]))
        if folder is None:
            continue
        listing = list_photos(top / folder)
        names = [name for name in listing.photos if "/" not in name]
        others += [name for name in listing.passed_over if "/" not in name]
        strange += [f"{folder}/{name}" for name in sorted(names) if _stem(name) not in SHOWS]
        for stem in SHOWS:
            found = sorted(name for name in names if _stem(name) == stem)
            lacking += [] if found else [f"{folder}/{stem}"]
            twice += [" and ".join(f"{folder}/{name}" for name in found)] if len(found) > 1 else []
            photos += [f"{folder}/{name}" for name in found[:1]]
            persons += [row] * len(found[:1])
    known = ", ".join(SHOWS)
    if lacking:
        faults.append(
            f"every person has seven photos, {len(lacking)} are missing: {listed(lacking)}; check the upload, or drop the row"
        )
        faults += passed_over(others)
    if strange:
        faults.append(f"photos must be named {known}, got {listed(strange)}; rename or remove them")
    if twice:
        faults.append(f"each of a person's photos must be there once, got {listed(twice)}; remove one of each")
    return persons, photos, passed_over(others)


def _people_faults(rows: Sequence[Mapping[str, str]], spelled: Mapping[str, str]) -> list[str]:
    """Folders that rows name twice, that are not there, and that say something else than their row."""
    given = [normalize("NFC", row["path"]) for row in rows]
    said = [normalize("NFC", "_".join(row[c] for c in ("id", "gender", "race", "age"))) for row in rows]
    twice = sorted({path for path in given if given.count(path) > 1}) if len(set(given)) < len(given) else []
    gone = [path for path in given if path not in spelled]
    other = [f"{path} (its row says {name})" for path, name in zip(given, said, strict=True) if path != name]
    faults = []
    if twice:
        faults.append(f"{TRAIN}: each person has one row, these folders stand more than once: {listed(twice)}; keep one")
    if gone:
        faults.append(
            f"{len(gone)} of {len(rows)} people have no folder in {PEOPLE}: {listed(gone)}; check the upload, or drop their rows"
        )
    if other:
        faults.append(
            f"a person's folder is named id_gender_race_age as in its row, these are not: {listed(other)}; "
            f"find out which is right, then mend {TRAIN} or the folder's name, or drop the row"
        )
    return faults


def _stem(photo: str) -> str:
    """`000001_female_Asian_20/MASK1.JPG` -> `mask1`."""
    return PurePosixPath(photo).stem.lower()
