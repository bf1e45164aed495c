"""What was found in a folder -> settings of a competition, each with how it was decided, and the choices that only a person can make.

Nothing that is ambiguous is taken silently: the likelier reading is written, the other stands beside it as a comment, and `Draft.choices`
names both.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from competitions.csv_tables import Table
from competitions.draft.folder import TEST_WORDS, TRAIN_WORDS, Lead, PhotoIndex, Unpacked
from competitions.manifest import RESERVED
from competitions.metrics import METRICS
from competitions.readers.given_split import JUDGE_WORDS, PART_WORDS
from competitions.readers.pixels import PLACE, ROW
from system.errors import UserError, listed, unknown

GROUP_WORDS = re.compile(
    r"patient|person|subject|people|sender|user|driver|location|site|camera|track|seq|scene|video|group|lesion|product|plant|clinic|"
    r"hospital|experiment|slide|house|owner|session|visit",
    re.IGNORECASE,
)
"""How columns are called whose photos belong together."""
LABEL_WORDS = re.compile(
    r"label|class|target|category|species|diagnos|kind|type|breed|artist|answer|has_|rust|disease", re.IGNORECASE
)
PLAIN_LABELS = ("label", "class", "target", "category", "species")
UNLABELLED = ("unlabelled", "unlabeled")
"""How people call photos without labels."""
ID_WORDS = re.compile(r"(^|_)(id|image|img|file|name)", re.IGNORECASE)
USUAL_SIDES = (32, 48, 64, 96, 128)
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


def draft(folder: Unpacked, labels: Sequence[str] = ()) -> Draft:
    """The first draft of a competition.

    Args:
        folder: What was found.
        labels: The columns that are asked for, where somebody says it.

    Raises:
        UserError: Nothing in the folder says what a photo shows, or a label that was named is no column.
    """
    made, index = Draft(notes=list(folder.notes)), PhotoIndex(folder.photos)
    mask = _mask(folder)
    sample = None if mask else _sample(folder, made)
    found = (
        mask
        or _from_pixels(folder, sample)
        or _from_tables(folder, index, sample, made)
        or _from_folders(folder, sample, labels)
        or _from_names(folder, sample, labels, made)
    )
    if found is None:
        raise UserError(
            f"nothing in {folder.root} says what the photos show: no table leads to them, no folders are called like classes and no "
            f"names begin with one (tables: {listed([*folder.tables, *folder.coco]) or 'none'}; photos: {len(folder.photos)}); "
            f"write the YAML by hand (docs/own-competition.md)",
            *([f"archives are there: {listed(folder.archives)}; unpack them"] if folder.archives else []),
        )
    for setting in found.settings:
        made.settings.append(setting)
    groups = _groups(found, made)
    if found.table is not None:
        columns = found.columns | ({"group": groups[0]} if groups else {})
        made.say("columns", columns, groups[1] if groups else "", groups[2] if groups else _proposals(folder))
    tasks, form = _tasks(found, sample, labels, made)
    for task, fields in tasks[0].items():
        if found.table is not None and "column" in fields and (told := _sets(found.table.columns[fields["column"]])):
            made.choices.append(f"task {task}: {told}; sets are not read yet, so each combination counts as one class")
    made.say("tasks", tasks[0], tasks[1], tasks[2])
    _answer(found, sample, tasks[0], form, made)
    return made


def _sample(folder: Unpacked, made: Draft) -> tuple[str, Table] | None:
    """The sample submission; of several the one whose name says so most plainly."""
    if not folder.samples:
        made.choices.append(
            "no sample submission was found: say in `submission` how the file that is handed in is called and written"
        )
        return None
    names = sorted(folder.samples, key=lambda name: ("sample" not in name.lower(), name.count("/"), name))
    if len(names) > 1:
        made.choices.append(f"{len(names)} files look like a sample submission; {names[0]} was taken, not {listed(names[1:])}")
    return names[0], folder.samples[names[0]]


def _from_tables(folder: Unpacked, index: PhotoIndex, sample: tuple[str, Table] | None, made: Draft) -> Layout | None:
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


def _mask(folder: Unpacked) -> Layout | None:
    """A folder per person, as of the competition that Podium began with: it has a reader of its own."""
    if not {"train/train.csv", "eval/info.csv"} <= folder.tables.keys() | folder.samples.keys():
        return None
    if not {"gender", "age", "path"} <= folder.tables["train/train.csv"].columns.keys():
        return None
    return Layout(
        (Setting("reader", "mask", "train/train.csv has a row for each person, eval/info.csv one for each test photo"),)
    )


def _from_pixels(folder: Unpacked, sample: tuple[str, Table] | None) -> Layout | None:
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


MASK_TASKS = {
    "mask": {"column": "mask", "classes": ["wear", "incorrect", "normal"]},
    "gender": {"column": "gender", "classes": ["male", "female"]},
    "age": {"column": "age", "classes": ["<30", "30-60", "60+"], "cuts": [30, 60]},
}


def _is_test(name: str, table: Table, ids: Sequence[str], folder: Unpacked) -> bool:
    """Whether a table lists test photos: it is called so, or its ids are those of the sample."""
    if name in folder.coco:
        return "category_id" not in table.columns
    stem = PurePosixPath(name).name
    if TEST_WORDS.search(stem) and not TRAIN_WORDS.search(stem):
        return True
    known = set(ids)
    return bool(known) and any(known <= set(texts) and len(texts) <= 1.2 * len(known) for texts in table.columns.values())


def _key(table: Table, index: PhotoIndex, sample: tuple[str, Table] | None, *, test: bool) -> tuple[str, str, Lead] | None:
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


def _test_place(test: Table | None, image: str, path: str, sample: tuple[str, Table] | None, index: PhotoIndex) -> Lead | None:
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


def _from_folders(folder: Unpacked, sample: tuple[str, Table] | None, labels: Sequence[str]) -> Layout | None:
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
    elif not sample:
        settings[1:1] = []
    return Layout(tuple(settings), task=task, why=why, classes=tuple(names))


def _from_names(folder: Unpacked, sample: tuple[str, Table] | None, labels: Sequence[str], made: Draft) -> Layout | None:
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


def _groups(found: Layout, made: Draft) -> tuple[str, str, list[str]] | None:
    """The column that says which photos belong together, why, and other columns that could."""
    if found.table is None:
        return None
    table, several = found.table, dict[str, int]()
    for column, texts in table.columns.items():
        n_groups = len({text for text in texts if text})
        if column not in found.used and GROUP_WORDS.search(column) and 5 <= n_groups < 0.95 * table.n_rows:
            several[column] = n_groups
    both = [c for c in several if found.test is not None and set(found.test.columns.get(c, ())) & set(table.columns[c]) - {""}]
    for column in both:
        made.choices.append(
            f"the column {column!r} repeats, and its values stand in the test rows too, so it was not taken for groups"
        )
    names = sorted((c for c in several if c not in both), key=lambda c: several[c])
    if not names:
        return None
    first, *others = names
    if others:
        made.choices.append(
            f"groups: {first!r} was taken, the coarsest of the columns that repeat; {listed(map(repr, others))} could be it too"
        )
    return first, f"{several[first]} groups", [f"group: {other}  # {several[other]} groups" for other in others]


def _proposals(folder: Unpacked) -> list[str]:
    """Groups that file names suggest, as commented lines: a prefix that repeats."""
    stems = [PurePosixPath(photo).stem for photo in folder.photos]
    prefixes = Counter(match[1] for stem in stems if (match := re.match(r"(.+)[_-][^_-]+$", stem)))
    if sum(prefixes.values()) > 0.9 * len(stems) and 5 <= len(prefixes) < 0.5 * len(stems):
        return [
            f"names share {len(prefixes)} beginnings, such as {listed(list(prefixes)[:3])}. If photos of one belong together:",
            r"pattern: '(?P<prefix>[^/]+)[_-][^_-]+\.\w+$'   (a line of its own), and here: group: prefix",
        ]
    return []


Tasks = tuple[dict[str, Any], str, list[str]]


def _tasks(found: Layout, sample: tuple[str, Table] | None, labels: Sequence[str], made: Draft) -> tuple[Tasks, str]:
    """The tasks, how they were found and other readings; and the form of the answer."""
    headers = list(sample[1].columns)[1:] if sample else []
    if not found.task and found.table is None:
        return (MASK_TASKS, "as the classes are defined there", []), ""
    if found.table is None:
        fields = {"column": found.task} if any(s.key == "pattern" for s in found.settings) else {}
        names = {looked.lower() for looked in found.classes}
        form = "probabilities" if headers and {h.lower() for h in headers} == names else _form(sample, headers)
        return ({found.task: fields}, found.why, []), form
    table = found.table
    group = next((s.value.get("group") for s in made.settings if s.key == "columns"), None)
    free = [c for c in table.columns if c not in found.used and c != group]
    if labels:
        strange = [label for label in labels if label not in table.columns]
        if strange:
            raise UserError(*(f"--label: {unknown('column', label, table.columns)}" for label in strange))
        return ({_name(c): {"column": c} for c in labels}, "as you said", []), _form(sample, headers)
    one_hot = [h for h in headers if h in table.columns and _binary(table.columns[h])]
    if len(one_hot) > 1 and len(one_hot) == len(headers):
        ones = [sum(table.columns[h][row].strip() in ("1", "1.0") for h in one_hot) for row in range(table.n_rows)]
        if len(headers) > FEWEST_CLASSES and ones.count(1) == len(ones):
            task = {"kind": {"columns": one_hot}}
            return (task, "one of these columns holds 1 in each row, so they are the classes of one task", []), "probabilities"
        form = "" if sample is None or _whole(sample[1], headers) else "probability"
        return ({_name(h): {"column": h} for h in one_hot}, "each of these columns is asked for by itself", []), form
    by_class = [c for c in free if len(headers) > 1 and set(headers) == {t for t in table.columns[c] if t}]
    if by_class:
        return ({_name(by_class[0]): {"column": by_class[0]}}, "its values are the sample's columns", []), "probabilities"
    lower = {c.lower(): c for c in free}
    asked = [lower[h.lower()] for h in headers if h.lower() in lower]
    if asked and len(asked) == len(headers):
        return ({_name(c): {"column": c} for c in asked}, "asked for by the sample", []), _form(sample, headers)
    return _likely(table, free, sample, headers, found, made)


def _likely(
    table: Table, free: Sequence[str], sample: tuple[str, Table] | None, headers: Sequence[str], found: Layout, made: Draft
) -> tuple[Tasks, str]:
    """The column that is most likely the label, where the sample's headers do not say it."""
    cells = {cell.strip() for h in headers for cell in sample[1].columns[h]} if sample else set()
    test = set(found.test.columns) if found.test else set()

    def rank(column: str) -> tuple[bool, bool, bool, bool, int, int]:
        texts = {text for text in table.columns[column] if text}
        usual = FEWEST_CLASSES <= len(texts) <= max(FEWEST_CLASSES, table.n_rows // 2)
        named = 2 if column.lower() in PLAIN_LABELS else int(bool(LABEL_WORDS.search(column)))
        asked = bool(cells) and cells <= texts
        return usual, asked, column not in test, not GROUP_WORDS.search(column), named, -len(texts)

    ranked = sorted(free, key=rank, reverse=True)
    if not ranked or not rank(ranked[0])[0]:
        raise UserError(
            f"no column of {table.name} looks like a label (columns: {listed(list(table.columns))}); name it: --label COLUMN"
        )
    first, others = ranked[0], [c for c in ranked[1:] if rank(c)[0] and not GROUP_WORDS.search(c)]
    if others:
        made.choices.append(f"label: {first!r} was taken; {listed(map(repr, others))} could be it too (--label COLUMN says it)")
    instead = [f"{_name(other)}: {{column: {other}}}" for other in others[:5]]
    return ({_name(first): {"column": first}}, "the likeliest column", instead), _form(sample, headers)


def _form(sample: tuple[str, Table] | None, headers: Sequence[str]) -> str:
    """`probability` where the sample's only answers are fractions of 1; empty for classes."""
    if sample is None or not headers:
        return ""
    cells = [cell.strip() for header in headers for cell in sample[1].columns[header]]
    numbers = [_float(cell) for cell in cells]
    if all(n is not None and 0 <= n <= 1 for n in numbers) and any("." in cell for cell in cells):
        return "probability"
    return ""


def _answer(found: Layout, sample: tuple[str, Table] | None, tasks: dict[str, Any], form: str, made: Draft) -> None:
    """Metric, size and the file that is handed in."""
    ranked = {"": "macro_f1_sklearn", "probability": "roc_auc", "probabilities": "log_loss"}[form]
    metric = ranked if ranked in METRICS else {"macro_f1_sklearn": "macro_f1"}.get(ranked, "log_loss")
    others = {"": ["accuracy", "balanced_accuracy", "qwk"], "probability": ["log_loss"], "probabilities": ["roc_auc"]}[form]
    kind = {"": "classes", "probability": "probabilities", "probabilities": "probabilities of all classes"}[form]
    instead = [f"metric: {other}" for other in others if other in METRICS and other != metric]
    made.say("metric", metric, f"usual where {kind} are handed in; take the competition's own", instead)
    made.choices.append(
        f"metric: {metric} was taken, because {kind} are handed in; your competition's page says which one judges"
    )
    headers = list(sample[1].columns)[1:] if sample else []
    if tasks is MASK_TASKS:
        made.say("label", list(tasks), "mask * 6 + gender * 3 + age")
        made.say("submission", {"sample": "eval/info.csv", "values": "index"}, "the number of the composed class")
        return
    if sample is None:
        first = next(iter(tasks))
        answers = {name: name for name in tasks} if len(tasks) > 1 else {"label": first}
        made.say("submission", {"id_column": found.columns.get("image", "id"), "answers": answers}, "no sample was found")
        return
    name, table = sample
    value: dict[str, Any] = {"sample": name}
    instead_form: list[str] = []
    names = list(tasks)
    columns = {t.get("column", n): n for n, t in tasks.items()}
    lower = {c.lower(): n for c, n in columns.items()}
    if len(names) > 1 and set(headers) != set(names):
        value["answers"] = {h: lower[h.lower()] for h in headers if h.lower() in lower}
    if form == "probability":
        value["form"] = form
    elif not form and _zeros(found, tasks, [cell for h in headers for cell in table.columns[h]]):
        made.choices.append(
            "submission: the sample holds one number in all rows; if probabilities are asked for, write form: probability"
        )
        instead_form = ["submission: {..., form: probability}  # if probabilities are asked for"]
    elif not form and _numbered(found, tasks, [cell for h in headers for cell in table.columns[h]]):
        value["values"] = "index"
    made.say(
        "submission",
        value,
        f"columns {listed(list(table.columns), 6)}, so {kind} are handed in",
        instead_form,
    )


def _zeros(found: Layout, tasks: dict[str, Any], cells: Sequence[str]) -> bool:
    """Whether a sample of 0/1 tasks is 0 (or 1) all over: then it does not say whether classes or probabilities are asked for."""
    if found.table is None or len(set(cells)) != 1 or not set(cells) <= {"0", "1"}:
        return False
    return all("column" in task and _binary(found.table.columns[task["column"]]) for task in tasks.values())


def _numbered(found: Layout, tasks: dict[str, Any], cells: Sequence[str]) -> bool:
    """Whether the sample writes classes as numbers although they have names."""
    names = set(found.classes)
    for task in tasks.values():
        if found.table is not None and "column" in task:
            names |= set(found.table.columns[task["column"]])
    return bool(cells) and all(re.fullmatch(r"\d+", cell) for cell in cells) and not names & set(cells)


def sizes(shapes: Sequence[tuple[int, int]]) -> tuple[int, str]:
    """The side that searches use, from some photos' sizes: not more than half of them have, and at most 128."""
    if not shapes:
        return 64, ""
    sides = sorted(min(shape) for shape in shapes)
    middle = sides[len(sides) // 2]
    size = max([s for s in USUAL_SIDES if s <= middle] or [USUAL_SIDES[0]])
    return size, f"the shorter sides of {len(shapes)} photos are {sides[0]} to {sides[-1]} pixels, half of them {middle} or more"


def _sets(texts: Sequence[str]) -> str:
    """A sentence where cells name several things at once (`haze primary`), so that they are sets: names that recur in many of them."""
    kinds = {text.strip() for text in texts if text.strip()}
    for sign in (" ", ",", "|", ";"):
        words = Counter(word for kind in kinds for word in kind.split(sign))
        several = [kind for kind in kinds if sign in kind]
        recur = sum(words[word] > 1 for kind in several for word in kind.split(sign))
        if (
            len(several) > 0.25 * len(kinds)
            and len(words) < len(kinds)
            and recur > 0.9 * sum(len(kind.split(sign)) for kind in several)
        ):
            return f"its cells name several of {len(words)} things at once, such as {sorted(several)[0]!r}"
    return ""


def _binary(texts: Sequence[str]) -> bool:
    return {text.strip() for text in texts} <= {"0", "1", "0.0", "1.0"}


def _whole(table: Table, headers: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\d+", cell.strip()) for header in headers for cell in table.columns[header])


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _name(column: str) -> str:
    """A task's name for a column."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", column).strip("_.-")
    return "kind" if name in RESERVED or not name else name
