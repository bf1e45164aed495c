"""Where photos, labels and test rows stand in a folder that somebody unpacked: the layouts that are known, the plainest first."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from competitions.csv_tables import Table
from competitions.draft.folder import TEST_WORDS, TRAIN_WORDS, Lead, PhotoIndex, Unpacked
from competitions.readers.given_split import JUDGE_WORDS, PART_WORDS
from competitions.readers.pixels import PLACE, ROW
from system.errors import listed

SampleTable = tuple[str, Table]
"""The name of the sample submission, and what stands in it."""
UNLABELLED = ("unlabelled", "unlabeled")
"""How people call photos without labels."""
ID_WORDS = re.compile(r"(^|_)(id|image|img|file|name)", re.IGNORECASE)
FEWEST_CLASSES, MOST_NAMED = 2, 100
"""So few, and so many, classes are usual."""


@dataclass(frozen=True)
class Setting:
    """One line of the YAML.

    Attributes:
        key: Its name.
        value: What is written.
        why: How it was decided; a comment behind it.
        instead: Other readings, as lines that are commented out.
    """

    key: str
    value: Any
    why: str = ""
    instead: tuple[str, ...] = ()


@dataclass
class Draft:
    """A competition as far as a folder says it.

    Attributes:
        settings: In the order in which they are written.
        choices: What a person should look at, one sentence each.
        notes: What was passed over, one sentence each.
    """

    settings: list[Setting] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self, key: str, value: Any, why: str = "", instead: Sequence[str] = ()) -> None:
        """Add a line."""
        self.settings.append(Setting(key, value, why, tuple(instead)))


@dataclass(frozen=True)
class Layout:
    """Where photos and their labels were found: the part of a draft that hangs on the layout.

    Attributes:
        settings: `reader`, `table`, `columns` ...
        table: The labelled rows with the columns that are joined, where there are some.
        columns: The settings `columns`.
        used: Columns that say what a photo is, and so no label.
        test: The test rows, where a table has them.
        task: The only task, where the layout says it.
        why: How the labels were found, where the layout says them.
        n_classes: Of that task.
    """

    settings: tuple[Setting, ...]
    table: Table | None = None
    columns: dict[str, str] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    test: Table | None = None
    task: str = ""
    why: str = ""
    classes: tuple[str, ...] = ()


def find_layout(folder: Unpacked, sample: SampleTable | None, labels: Sequence[str], made: Draft) -> Layout | None:
    """The first layout that fits; `None` where nothing says what the photos show. What it passes over or leaves open is told to `made`."""
    return (
        mask_layout(folder)
        or _from_pixels(folder, sample)
        or _from_tables(folder, PhotoIndex(folder.photos), sample, made)
        or _from_folders(folder, sample, labels)
        or _from_names(folder, sample, labels, made)
    )


def _from_tables(folder: Unpacked, index: PhotoIndex, sample: SampleTable | None, made: Draft) -> Layout | None:
    """A table of labelled photos, a table of test photos, and tables that are joined to the first."""
    tables = {name: table for name, table in (folder.tables | folder.coco).items() if table.n_rows}
    if not tables:
        return None
    ids = sample[1].columns[next(iter(sample[1].columns))] if sample and sample[1].columns else ()
    tests = [name for name in tables if _is_test(name, tables[name], ids, folder)]
    keys = {name: _key(table, index, sample, test=name in tests) for name, table in tables.items()}
    labelled = [name for name in tables if name not in tests and keys[name] is not None]
    if not labelled:
        return None
    headers = {h.lower() for h in sample[1].columns} if sample else set()

    def rank(name: str) -> tuple[bool, bool, float, int, int, str]:
        table, (image, path, place) = tables[name], keys[name] or ("", "", Lead(0.0))
        whole = len(set(table.columns[image])) == table.n_rows if image else False
        return whole, bool(path), place.share, len(headers & {h.lower() for h in table.columns}), table.n_rows, name

    main = max(labelled, key=rank)
    image, path, place = keys[main] or ("", "", Lead(0.0))
    table, join = tables[main], dict[str, str]()
    if main not in folder.coco:
        for other in sorted(set(folder.tables) - {main, *tests}):
            if tables[other].n_rows and _belongs(tables[other], table, image):
                join[other] = image
                more = {h: texts for h, texts in tables[other].columns.items() if h not in table.columns}
                rows = {text: row for row, text in enumerate(tables[other].columns[image])}
                order = [rows.get(text) for text in table.columns[image]]
                added = {h: tuple("" if r is None else texts[r] for r in order) for h, texts in more.items()}
                table = replace(table, columns=table.columns | added)
    test = _test_table(tests, tables, keys, image, ids)
    settings = [Setting("reader", "coco")] * (main in folder.coco) + [Setting("reader", "npz")] * place.packed
    settings.append(Setting("table", main, f"{table.n_rows} rows with {listed(list(tables[main].columns), 12)}"))
    if join:
        settings.append(Setting("join", join, "its rows are found by this column"))
    if test:
        settings.append(Setting("test_table", test, f"{tables[test].n_rows} rows"))
    images = place.images
    settings.append(Setting("images", images, _told(place, image, path)))
    there = _test_place(tables[test] if test else None, image, path, sample, index)
    if there is not None and (test or sample) and not (test and there.images == images):
        settings.append(Setting("test_images", there.images, f"{there.share:.0%} of the test ids lead to a photo there"))
    unused = sorted({*folder.tables, *folder.coco} - {main, test, *join})
    if unused:
        made.notes.append(f"these tables were not used: {listed(unused)}")
    columns = {"image": image} | ({"path": place.rule or path} if place.rule or path else {})
    used = [image, *([path] if path else [])]
    if role := _role(table, used):
        roles, told = _words(table.columns[role])
        columns["role"] = role
        used.append(role)
        settings.append(Setting("roles", roles, f"what the column {role!r} says"))
        made.choices += told
    return Layout(tuple(settings), table, columns, tuple(used), tables[test] if test else None)


def _role(table: Table, used: Sequence[str]) -> str:
    """The column that says of each row whether it is train, test or unlabelled; empty where there is none."""
    for header, texts in table.columns.items():
        words = {text.strip().lower() for text in texts}
        if header not in used and len(words) > 1 and words <= {*PART_WORDS, *UNLABELLED} and words & {"train", "training"}:
            return header
    return ""


def _words(texts: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The setting `roles` for the words of a column, and what a person should look at."""
    words, choices = sorted(set(texts)), list[str]()
    judges = [word for word in words if word.strip().lower() in JUDGE_WORDS]
    tests = [word for word in words if word.strip().lower() in ("test", "testing")]
    if not tests:  # then what is called eval is asked
        tests = [word for word in judges if word.strip().lower() == "eval"]
        judges = [word for word in judges if word not in tests]
    others = [word for word in words if word.strip().lower() in UNLABELLED]
    train = [word for word in words if word not in (*tests, *others)]
    if judges:
        choices.append(f"roles: the photos called {listed(judges)} are learned from too, and take turns to judge like all others")
    roles = {"train": train, "test": tests, "unlabelled": others}
    return {role: some[0] if len(some) == 1 else some for role, some in roles.items() if some}, choices


def mask_layout(folder: Unpacked) -> Layout | None:
    """A folder per person, as of the competition that Podium began with: it has a reader of its own."""
    if not {"train/train.csv", "eval/info.csv"} <= folder.tables.keys() | folder.samples.keys():
        return None
    if not {"gender", "age", "path"} <= folder.tables["train/train.csv"].columns.keys():
        return None
    return Layout(
        (Setting("reader", "mask", "train/train.csv has a row for each person, eval/info.csv one for each test photo"),)
    )


def _from_pixels(folder: Unpacked, sample: SampleTable | None) -> Layout | None:
    """Tables with a column per pixel, of which the others are those of the photos."""
    train = [name for name in folder.pixels if not TEST_WORDS.search(PurePosixPath(name).name)]
    if not train:
        return None
    main = max(train, key=lambda name: (folder.tables[name].n_rows, name))
    tests = [name for name in folder.pixels if name != main and name not in train]
    first = next(iter(sample[1].columns), "") if sample else ""
    image = first if first in folder.tables[main].columns else ROW
    settings = [Setting("reader", "pixels"), Setting("table", main, f"a column per pixel, {folder.tables[main].n_rows} rows")]
    if tests:
        settings.append(Setting("test_table", tests[0], f"{folder.tables[tests[0]].n_rows} rows"))
    test = folder.tables[tests[0]] if tests else None
    return Layout(tuple(settings), folder.tables[main], {"image": image}, (image, ROW, PLACE), test)


def _is_test(name: str, table: Table, ids: Sequence[str], folder: Unpacked) -> bool:
    """Whether a table lists test photos: it is called so, or its ids are those of the sample."""
    if name in folder.coco:
        return "category_id" not in table.columns
    stem = PurePosixPath(name).name
    if TEST_WORDS.search(stem) and not TRAIN_WORDS.search(stem):
        return True
    known = set(ids)
    return bool(known) and any(known <= set(texts) and len(texts) <= 1.2 * len(known) for texts in table.columns.values())


def _key(table: Table, index: PhotoIndex, sample: SampleTable | None, *, test: bool) -> tuple[str, str, Lead] | None:
    """The columns of ids and of paths (empty where they are one), and where they lead; `None` where nothing leads to photos."""
    places = {column: index.place_of(table, column, test=test) for column in table.columns}
    leading = [column for column, place in places.items() if place.share >= 0.5]
    if not leading:
        return None
    path = max(
        leading, key=lambda c: (round(places[c].share, 2), len(set(table.columns[c])), not places[c].rule, -list(places).index(c))
    )
    unique = [column for column, texts in table.columns.items() if len(set(texts)) == len(texts)]
    first = next(iter(sample[1].columns), "") if sample else ""
    named = next((c for c in unique if c.lower() == first.lower()), None)
    if named is None and path in unique:
        named = path
    image = named or next((c for c in unique if ID_WORDS.search(c)), None) or path
    if image in leading and places[image].share >= places[path].share and not (places[image].rule and not places[path].rule):
        path = image
    return image, "" if path == image else path, places[path]


def _belongs(other: Table, table: Table, image: str) -> bool:
    """Whether a table says more of the same photos: the same ids, once each, and columns that the other lacks."""
    if image not in other.columns or not set(other.columns) - set(table.columns):
        return False
    both = [h for h in other.columns if h != image and h in table.columns]
    here, there = set(table.columns[image]), other.columns[image]
    return not both and len(set(there)) == len(there) and len(here & set(there)) >= 0.95 * len(here)


def _test_table(tests: Sequence[str], tables: dict[str, Table], keys: dict[str, Any], image: str, ids: Sequence[str]) -> str:
    """The table of test photos that has the id column, and where there is a sample its ids; empty where there is none."""
    known = set(ids)
    for name in sorted(tests, key=lambda n: (keys[n] is None, abs(tables[n].n_rows - len(known)) if known else 0, n)):
        if image in tables[name].columns and (not known or known <= set(tables[name].columns[image])):
            return name
    return ""


def _test_place(test: Table | None, image: str, path: str, sample: SampleTable | None, index: PhotoIndex) -> Lead | None:
    """Where the test photos are, from the column that leads to the training photos."""
    if test is not None:
        there = index.place_of(test, path if path in test.columns else image, test=True)
        return there if there.share >= 0.5 else None
    if sample is None or not sample[1].n_rows:
        return None
    place = index.place_of(sample[1], next(iter(sample[1].columns)), test=True)
    return place if place.share >= 0.5 else None


def _told(place: Lead, image: str, path: str) -> str:
    how = f"the rule {place.rule}" if place.rule else f"the column {path or image!r}"
    return f"{how} leads to {place.share:.0%} of the photos that were looked for"


def _from_folders(folder: Unpacked, sample: SampleTable | None, labels: Sequence[str]) -> Layout | None:
    """A folder for each class: `train/cat/1.jpg`, beside a folder of test photos."""
    kinds: dict[str, Counter[str]] = {}
    for photo in folder.photos:
        parts = PurePosixPath(photo).parts[:-1]
        if parts:
            kinds.setdefault("/".join(parts[:-1]), Counter())[parts[-1]] += 1
    flat = {front: n for front, n in kinds.items() if len([k for k in n if not TEST_WORDS.search(k)]) >= FEWEST_CLASSES}
    flat = {front: n for front, n in flat.items() if not TEST_WORDS.search(PurePosixPath(front).name)}
    if not flat:
        return None
    train = max(flat, key=lambda front: (bool(TRAIN_WORDS.search(front)), sum(flat[front].values())))
    names = sorted(k for k in flat[train] if train or not TEST_WORDS.search(k))
    tests = sorted({str(PurePosixPath(p).parent) for p in folder.photos if TEST_WORDS.search(str(PurePosixPath(p).parent))})
    task = labels[0] if labels else "kind"
    why = f"a folder for each class below {train or 'FOLDER'}: {listed(names)}"
    if train and tests:
        test = min(tests, key=lambda t: (t.count("/"), t))
        reader = [
            Setting("reader", "folders"),
            Setting("roles", {"train": train, "test": test}, f"photos stand in {train}/<class>/ and {test}/"),
        ]
        return Layout(tuple(reader), task=task, why=why, classes=tuple(names))
    pattern = rf"^(?P<{task}>{'|'.join(map(re.escape, names)) if not train else '[^/]+'})/"
    settings = [
        Setting("reader", "files"),
        Setting("images", train),
        Setting("pattern", pattern, "reads the class out of the path"),
    ]
    if tests and sample:
        settings.append(Setting("test_images", min(tests, key=lambda t: (t.count("/"), t))))
    return Layout(tuple(settings), task=task, why=why, classes=tuple(names))


def _from_names(folder: Unpacked, sample: SampleTable | None, labels: Sequence[str], made: Draft) -> Layout | None:
    """The class at the beginning of a photo's name: `train/cat.12.jpg`."""
    by_folder: dict[str, list[str]] = {}
    for photo in folder.photos:
        by_folder.setdefault(str(PurePosixPath(photo).parent), []).append(PurePosixPath(photo).name)
    for front in sorted(by_folder, key=lambda f: (bool(TEST_WORDS.search(f)), not TRAIN_WORDS.search(f), -len(by_folder[f]))):
        words = Counter(match[1] if (match := re.match(r"([^\W\d]+?)[\W_]*\d", name)) else "" for name in by_folder[front])
        if "" in words or not FEWEST_CLASSES <= len(words) <= MOST_NAMED or min(words.values()) < FEWEST_CLASSES:
            continue
        task = labels[0] if labels else "kind"
        names = sorted(words)
        pattern = rf"(^|/)(?P<{task}>{'|'.join(map(re.escape, names))})[\W_]*\d"
        made.choices.append(f"the class is read from the beginning of the photos' names ({listed(names)}); right?")
        images = "" if front == "." else front
        settings = [
            Setting("reader", "files"),
            Setting("images", images),
            Setting("pattern", pattern, "reads the class out of the name"),
        ]
        tests = sorted(f for f in by_folder if TEST_WORDS.search(f))
        if tests and sample:
            settings.append(Setting("test_images", tests[0]))
        return Layout(tuple(settings), task=task, why=f"names begin with {listed(names)}", classes=tuple(names))
    return None
