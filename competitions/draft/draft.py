"""What was found in a folder -> settings of a competition, each with how it was decided, and the choices that only a person can make.

Nothing that is ambiguous is taken silently: the likelier reading is written, the other stands beside it as a comment, and `Draft.choices`
names both.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from competitions.csv_tables import Table
from competitions.draft.folder import Unpacked
from competitions.draft.layouts import FEWEST_CLASSES, Draft, Layout, SampleTable, find_layout, mask_layout
from competitions.manifest import RESERVED
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
USUAL_SIDES = (32, 48, 64, 96, 128)


def draft(folder: Unpacked, labels: Sequence[str] = ()) -> Draft:
    """The first draft of a competition.

    Args:
        folder: What was found.
        labels: The columns that are asked for, where somebody says it.

    Raises:
        UserError: Nothing in the folder says what a photo shows, or a label that was named is no column.
    """
    made = Draft(notes=list(folder.notes))
    sample = None if mask_layout(folder) else _sample(folder, made)
    found = find_layout(folder, sample, labels, made)
    if found is None:
        raise UserError(
            f"nothing in {folder.root} says what the photos show: no table leads to them, no folders are called like classes and no "
            f"names begin with one (tables: {listed([*folder.tables, *folder.coco]) or 'none'}; photos: {len(folder.photos)}); "
            f"write the YAML by hand (docs/own-competition.md)",
            *([f"archives are there: {listed(folder.archives)}; unpack them"] if folder.archives else []),
        )
    made.settings += found.settings
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


def _sample(folder: Unpacked, made: Draft) -> SampleTable | None:
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


MASK_TASKS = {
    "mask": {"column": "mask", "classes": ["wear", "incorrect", "normal"]},
    "gender": {"column": "gender", "classes": ["male", "female"]},
    "age": {"column": "age", "classes": ["<30", "30-60", "60+"], "cuts": [30, 60]},
}


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


def _tasks(found: Layout, sample: SampleTable | None, labels: Sequence[str], made: Draft) -> tuple[Tasks, str]:
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
    table: Table, free: Sequence[str], sample: SampleTable | None, headers: Sequence[str], found: Layout, made: Draft
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


def _form(sample: SampleTable | None, headers: Sequence[str]) -> str:
    """`probability` where the sample's only answers are fractions of 1; empty for classes."""
    if sample is None or not headers:
        return ""
    cells = [cell.strip() for header in headers for cell in sample[1].columns[header]]
    numbers = [_float(cell) for cell in cells]
    if all(n is not None and 0 <= n <= 1 for n in numbers) and any("." in cell for cell in cells):
        return "probability"
    return ""


def _answer(found: Layout, sample: SampleTable | None, tasks: dict[str, Any], form: str, made: Draft) -> None:
    """Metric, size and the file that is handed in."""
    metric = {"": "macro_f1_sklearn", "probability": "roc_auc", "probabilities": "log_loss"}[form]
    others = {"": ["accuracy", "balanced_accuracy", "qwk"], "probability": ["log_loss"], "probabilities": ["roc_auc"]}[form]
    kind = {"": "classes", "probability": "probabilities", "probabilities": "probabilities of all classes"}[form]
    instead = [f"metric: {other}" for other in others]
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
