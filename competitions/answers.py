"""Forms of answers: what a task's ensemble says, labels `(N,)` and shares `(N, C)` <-> the cells of one column of the file handed in.

`ANSWERS` has a line per form. A column reads its task's labels where its form decides (one class), and its shares where it does not
(probabilities, rankings): then the vote is one of shares, and nothing is decided. `submissions.format` puts columns and rows together.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from system.errors import EXAMPLES, listed, unknown

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]
_PLACES = re.compile(r"(\{id\}|\{header\})")
_NUMBER = re.compile(r"[0-9]{1,9}")
CLASS, OF_ONE, OF_EACH, RANKING = "class", "probability", "probabilities", "ranking"
"""The forms that have words of their own; the first is that of a column that says none."""
CLASS_PATTERN, NUMBER_PATTERN = "{class}", "{number}"
"""In a header: one column for each class, called by its name or by its number."""
SUM_SLACK = 1e-2
"""A row of probabilities, one for each class, sums to 1 but for this: people round them."""


@dataclass(frozen=True)
class AnswerColumn:
    """One column of the file that is handed in.

    Attributes:
        header: Its name.
        task: Whose answer it holds: a task, or `label`.
        form: One of `ANSWERS`.
        of: The class whose probability it holds, where it holds one.
        values: Whether classes are written as their names or as their numbers.
        k: How many classes a ranking names.
        separator: What stands between them.
    """

    header: str
    task: str
    form: str = CLASS
    of: str = ""
    values: Literal["name", "index"] = "name"
    k: int = 0
    separator: str = " "


@dataclass(frozen=True)
class RowPattern:
    """Several rows for each photo, one for each column that the file would have else.

    Attributes:
        id: How a row's id is made, of `{id}` and `{header}`.
        value: The header of the one column beside the ids.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  # what pydantic reads where a YAML has one

    id: str
    value: str

    def row_id(self, image_id: str, header: str) -> str:
        """The id of one photo's row for one header."""
        parts = {"{id}": image_id, "{header}": header}
        return "".join(parts.get(part, part) for part in _PLACES.split(self.id))

    def apart(self, row_ids: Sequence[str], headers: Sequence[str]) -> list[tuple[str, str] | None]:
        """Of each row's id the photo's id and the header, `None` where it is not of this pattern.

        Where it can be read in two ways (`a_y_x` with the headers `x` and `y_x`), the photo is one that has a row for every header.
        """
        known, there = set(headers), set(row_ids)
        found: list[tuple[str, str] | None] = []
        for row_id in row_ids:
            ways = [way for way in self._ways(row_id) if way[0] and way[1] in known]
            whole = [way for way in ways if len(ways) > 1 and all(self.row_id(way[0], header) in there for header in headers)]
            found.append(next(iter(whole + ways), None))
        return found

    def _ways(self, row_id: str) -> Iterator[tuple[str, str]]:
        """Every photo's id and header that a row's id may be made of."""
        before, first, between, _, after = _PLACES.split(self.id)
        if not (row_id.startswith(before) and row_id.endswith(after)) or len(row_id) < len(before) + len(after):
            return
        rest = row_id[len(before) : len(row_id) - len(after)]
        for at in range(len(rest) + 1):
            if rest.startswith(between, at):
                parts = rest[:at], rest[at + len(between) :]
                yield parts if first == "{id}" else parts[::-1]

    @property
    def faults(self) -> list[str]:
        """What keeps it from naming rows."""
        parts = [part for part in _PLACES.split(self.id) if part in ("{id}", "{header}")]
        if sorted(parts) == ["{header}", "{id}"]:
            return []
        return [f"submission.rows.id must hold {{id}} and {{header}} once each, e.g. '{{id}}_{{header}}', got {self.id!r}"]


@dataclass(frozen=True)
class Unit:
    """One row for several photos.

    Attributes:
        column: Of the table: what the photos of one row have in common. It is the id of the row.
        how: Whether a row has the mean of its photos' shares, or each class's greatest.
        image: The table's column of image ids, where a plan keeps it.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  # as above

    column: str
    how: Literal["mean", "max"] = "mean"
    image: str | None = None


class FileForm(Protocol):
    """The form of the file: of a competition whose submission is complete, or of an exported plan."""

    @property
    def id_column(self) -> str:
        """The header of the photo's id."""

    @property
    def columns(self) -> tuple[AnswerColumn, ...]:
        """Its other columns, in their order."""

    @property
    def rows(self) -> RowPattern | None:
        """How rows are called, where a photo has several."""

    @property
    def unit(self) -> Unit | None:
        """What several photos of one row have in common, where they have one row."""


@dataclass(frozen=True)
class CellsRead:
    """What the cells of one column say of N photos.

    Attributes:
        order: `int64 (N, k)`, class numbers, the best first, -1 for none; of a form that names classes.
        probs: Class number -> its probability `float64 (N,)`; of a form that holds probabilities.
    """

    order: Ints | None = None
    probs: Mapping[int, Numbers] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """How one column is made of a task's answer: a line of `ANSWERS`.

    Attributes:
        words: What it holds, for people.
        decides: Whether it holds the decided label, and not shares.
        write: From column, C class names and n photos' labels `(n,)`, or where it does not decide shares `(n, C)` that sum to 1, to cells.
        read: From column, C class names and N cells to what they say, and a sentence for each thing that is wrong.
        of_class: Whether the column is that of one class.
    """

    words: str
    decides: bool
    write: Callable[[AnswerColumn, Sequence[str], NDArray[Any]], list[str]]
    read: Callable[[AnswerColumn, Sequence[str], Sequence[str]], tuple[CellsRead, list[str]]]
    of_class: bool = False


@dataclass(frozen=True)
class ColumnAnswer:
    """What is asked of one column, or of a pattern of columns.

    Attributes:
        task: A task, or `label`.
        form: One of `ANSWERS`; empty where the whole file has one.
        of: The class it is of; empty where it is of none, or where that follows.
    """

    task: str
    form: str = ""
    of: str = ""


def expanded(
    answers: Mapping[str, ColumnAnswer], form: str, classes: Mapping[str, Sequence[str]]
) -> tuple[dict[str, ColumnAnswer], list[str]]:
    """Header -> what is asked of its column, everything said: a pattern is a column for each class, a probability has its class.

    Args:
        answers: Header, or a pattern of headers -> what is asked.
        form: Of the whole file, where a column says none.
        classes: Task, or `label` -> its class names; what is asked of an unknown task, or of one without classes, is passed over.

    Returns:
        The columns, and a sentence for each mistake.
    """
    found, faults = dict[str, ColumnAnswer](), list[str]()
    by_class = _headers_by_class(answers, classes)
    for header, given in answers.items():
        names = classes.get(given.task)
        kind = given.form or form or CLASS
        asked = ColumnAnswer(given.task, kind, given.of)
        if given.form and given.form not in ANSWERS:
            faults.append(f"{header}: {unknown('form of answer', given.form, ANSWERS)}")
        if names is None or kind not in ANSWERS:
            continue
        if header in by_class and not (given.form or form or given.of):
            asked = ColumnAnswer(given.task, OF_EACH, header)
        faults += [f"{header}: {fault}" for fault in _asked_faults(header, asked, names)]
        for name, one in _columns_of(header, asked, names).items():
            faults += [f"two columns would be called {name!r}; give one of them another header"] if name in found else []
            found[name] = one
    whole: dict[str, list[str]] = {}
    for one in found.values():
        if one.form == OF_EACH:
            whole.setdefault(one.task, []).append(one.of)
    for task, named in whole.items():
        missing = [name for name in classes[task] if name not in named]
        twice = [name for name, n in Counter(named).items() if n > 1 and name]
        faults += (
            [f"{task}: probabilities need a column for each class, {listed(missing)} have none"] if missing and all(named) else []
        )
        faults += [f"{task}: a class has one column, {listed(twice)} have more"] if twice else []
    return found, faults


def by_their_headers(headers: Sequence[str], classes: Mapping[str, Sequence[str]]) -> dict[str, ColumnAnswer]:
    """Headers that are exactly the classes of tasks, each header of one -> probabilities; the others are left out.

    The numbers 0 to C-1 are taken for the classes of the only task, where no class is called so.
    """
    there, found = set(headers), dict[str, ColumnAnswer]()
    whole = {task: names for task, names in classes.items() if there.issuperset(names)}
    meant = Counter(name for names in whole.values() for name in names)
    for task, names in whole.items():
        if all(meant[name] == 1 for name in names):
            found |= {name: ColumnAnswer(task, OF_EACH, name) for name in names}
    if not found and len(classes) == 1:
        ((task, names),) = classes.items()
        numbers = {str(number): name for number, name in enumerate(names)}
        if there == set(numbers):
            found = {number: ColumnAnswer(task, OF_EACH, name) for number, name in numbers.items()}
    return {header: found[header] for header in headers if header in found}


def column_faults(column: AnswerColumn, classes: Sequence[str]) -> list[str]:
    """What keeps a column of C classes from being written: a ranking without a number of them, or a name that its separator would cut."""
    if column.form != RANKING:
        return []
    faults = []
    if not 1 <= column.k <= len(classes):
        faults.append(
            f"submission.k must say how many classes of {column.task} a ranking names, 1..{len(classes)}, got {column.k or 'none'}"
        )
    cut = [name for name in classes if column.separator in name] if column.values == "name" else []
    if cut:
        faults.append(
            f"classes of {column.task} must not hold the separator {column.separator!r}, {len(cut)} do: {listed(map(repr, cut))}; "
            "give another submission.separator, or values: index"
        )
    return faults


def _headers_by_class(answers: Mapping[str, ColumnAnswer], classes: Mapping[str, Sequence[str]]) -> set[str]:
    """Headers that ask for one task each, and together are its classes: they want a probability each, and not its label many times."""
    by_task: dict[str, list[str]] = {}
    for header, given in answers.items():
        by_task.setdefault(given.task, []).append(header)
    return {h for task, headers in by_task.items() if set(headers) == set(classes.get(task, ())) for h in headers}


def _asked_faults(header: str, asked: ColumnAnswer, names: Sequence[str]) -> list[str]:
    """What is wrong with what is asked of one column, or pattern of columns."""
    pattern = CLASS_PATTERN in header or NUMBER_PATTERN in header
    form = ANSWERS[asked.form]
    if pattern and (asked.form != OF_EACH or asked.of):
        return [
            f"a header with {CLASS_PATTERN} or {NUMBER_PATTERN} is a column for each class; say form: probabilities and no `of`"
        ]
    if asked.of and not form.of_class:
        return [f"of has no effect with the form {asked.form}; say form: probability, or leave it out"]
    if asked.of and asked.of not in names:
        return [f"of: {unknown('class', asked.of, names)}"]
    if pattern or asked.of or header in names or not form.of_class:
        return []
    if asked.form == OF_EACH:
        return [
            f"probabilities have a column for each class; call it {CLASS_PATTERN!r}, or say whose probability it holds (of: {names[0]!r})"
        ]
    return (
        []
        if len(names) == 2
        else [f"say whose probability it holds, e.g. of: {names[0]!r}; {asked.task} has {len(names)} classes"]
    )


def _columns_of(header: str, asked: ColumnAnswer, names: Sequence[str]) -> dict[str, ColumnAnswer]:
    """A header, or all headers of a pattern -> what is asked."""
    if not ANSWERS[asked.form].of_class:
        return {header: asked}
    if CLASS_PATTERN in header or NUMBER_PATTERN in header:
        return {
            header.replace(CLASS_PATTERN, name).replace(NUMBER_PATTERN, str(number)): replace(asked, of=name)
            for number, name in enumerate(names)
        }
    default = header if header in names else names[1] if asked.form == OF_ONE and len(names) == 2 else ""
    return {header: replace(asked, of=asked.of or default)}


def columns_of_rows(
    rows: RowPattern, row_ids: Sequence[str], cells: Sequence[str], headers: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]], list[str]]:
    """A file with several rows per photo as one with a row for each.

    Args:
        rows: How rows are called.
        row_ids: Their ids.
        cells: What they hold.
        headers: What a photo has a row for.

    Returns:
        The photos' ids, header -> their cells, both in the order in which they come, and what is wrong; where something is, nothing else.
    """
    parted = rows.apart(row_ids, headers)
    strange = [repr(row) for row, part in zip(row_ids, parted, strict=True) if part is None]
    faults = [f"{len(strange)} ids are not {rows.id!r} with one of {listed(headers)}: {listed(strange)}"] if strange else []
    by_photo: dict[str, dict[str, str]] = {}
    for part, cell in zip(parted, cells, strict=True):
        if part is not None:
            by_photo.setdefault(part[0], {})[part[1]] = cell
    short = [photo for photo, its in by_photo.items() if len(its) < len(headers)]
    faults += [f"{len(short)} photos have no row for some of {listed(headers)}: {listed(short)}"] if short else []
    if faults:
        return (), {}, faults
    order = dict.fromkeys(part[1] for part in parted if part is not None)
    return tuple(by_photo), {header: tuple(its[header] for its in by_photo.values()) for header in order}, []


def class_numbers(cells: Sequence[str], classes: Sequence[str], values: str) -> tuple[Ints, list[str]]:
    """Class numbers `int64 (N,)`, -1 for a cell that is no class, and a sentence for each such text."""
    known = {name: number for number, name in enumerate(classes)} if values == "name" else {}
    last = len(classes) - 1
    for cell in dict.fromkeys(cells) if values == "index" else ():
        if _NUMBER.fullmatch(cell) and int(cell) <= last:
            known[cell] = int(cell)
    if values == "name" and (other := {cell for cell in cells if cell not in known}):
        from system.texts import recognise  # here, so that a bundle opens without it

        spelled = recognise(classes)
        known |= {cell: known[name] for cell in other if (name := spelled(cell)) is not None}
    strange = Counter(cell for cell in cells if cell not in known)
    faults = []
    for cell, count in strange.most_common(EXAMPLES):
        fault = (
            unknown("class", cell, list(classes)) if values == "name" else f"class numbers must be 0..{last}, got {cell[:40]!r}"
        )
        faults.append(f"{fault} ({count} rows)")
    faults += [f"{len(strange) - EXAMPLES} more texts are no class"] if len(strange) > EXAMPLES else []
    return np.array([known.get(cell, -1) for cell in cells], dtype=np.int64), faults


def id_faults(image_ids: Sequence[str]) -> list[str]:
    """What is wrong with the N ids of a file's rows."""
    twice = [image_id for image_id, count in Counter(image_ids).items() if count > 1]
    faults = [] if len(image_ids) else ["there is no photo; a submission has one row for each test photo"]
    faults += [f"{len(twice)} image ids stand more than once, among them {listed(twice)}"] if twice else []
    if any("\ud800" <= sign <= "\udfff" for image_id in image_ids for sign in image_id):
        from system.texts import utf8_faults  # here, so that a bundle opens without it

        faults += utf8_faults(image_ids, "image ids")
    return faults + (["an image id is empty"] if "" in image_ids else [])


def floats(cells: Sequence[str]) -> tuple[Numbers, list[int]]:
    """Numbers `(N,)`, and the rows whose texts are none; those hold 0."""
    numbers, wrong = np.zeros(len(cells)), []
    for row, cell in enumerate(cells):
        try:
            numbers[row] = float(cell)
        except ValueError:
            wrong.append(row)
    return numbers, wrong


def _cells_of(column: AnswerColumn, classes: Sequence[str]) -> Sequence[str]:
    return classes if column.values == "name" else [str(number) for number in range(len(classes))]


def _write_class(column: AnswerColumn, classes: Sequence[str], labels: NDArray[Any]) -> list[str]:
    cells = _cells_of(column, classes)
    return [cells[number] for number in labels.astype(np.int64).tolist()]


def _read_class(column: AnswerColumn, classes: Sequence[str], cells: Sequence[str]) -> tuple[CellsRead, list[str]]:
    numbers, faults = class_numbers(cells, classes, column.values)
    return CellsRead(order=numbers[:, None]), faults


def _write_probability(column: AnswerColumn, classes: Sequence[str], shares: NDArray[Any]) -> list[str]:
    """`repr` is the shortest text that reads back as the same float64."""
    return [repr(share) for share in shares[:, classes.index(column.of)].tolist()]


def _read_probability(column: AnswerColumn, classes: Sequence[str], cells: Sequence[str]) -> tuple[CellsRead, list[str]]:
    numbers, wrong = floats(cells)
    faults = [f"probabilities must be numbers, got {cells[wrong[0]][:40]!r} ({len(wrong)} rows)"] if wrong else []
    outside = np.flatnonzero(~((numbers >= 0) & (numbers <= 1)))
    if len(outside):
        faults.append(f"probabilities must lie in 0..1, got {cells[outside[0]][:40]!r} ({len(outside)} rows)")
    number = classes.index(column.of)
    said = {number: numbers}
    if column.form == OF_ONE and len(classes) == 2:
        said[1 - number] = 1 - numbers
    return CellsRead(probs=said), faults


def _write_ranking(column: AnswerColumn, classes: Sequence[str], shares: NDArray[Any]) -> list[str]:
    """The greatest shares first; of equal ones the first of the competition's order."""
    cells, written = _cells_of(column, classes), []
    least = np.partition(-shares, column.k - 1, axis=1)[:, column.k - 1]
    for row, most in zip(-shares, least.tolist(), strict=True):
        among = np.flatnonzero(row <= most)  # in the competition's order: of many classes only these are sorted
        order = among[np.argsort(row[among], kind="stable")][: column.k]
        written.append(column.separator.join(cells[number] for number in order.tolist()))
    return written


def _read_ranking(column: AnswerColumn, classes: Sequence[str], cells: Sequence[str]) -> tuple[CellsRead, list[str]]:
    rows = [[word for word in cell.split(column.separator) if word] for cell in cells]
    faults = []
    for rule, broken in (
        ("a ranking names at least one class", [row for row in rows if not row]),
        (f"a ranking names at most {column.k} classes", [row for row in rows if len(row) > column.k]),
        ("a ranking names a class once", [row for row in rows if len(set(row)) < len(row)]),
    ):
        if broken:
            faults.append(f"{rule}, {len(broken)} rows do not: {column.separator.join(broken[0])[:40]!r}")
    numbers, wrong = class_numbers([word for row in rows for word in row], classes, column.values)
    order, at = np.full((len(rows), column.k), -1, dtype=np.int64), 0
    for row, words in enumerate(rows):
        order[row, : len(words)] = numbers[at : at + len(words)][: column.k]
        at += len(words)
    return CellsRead(order=order), faults + wrong


ANSWERS: dict[str, Form] = {
    CLASS: Form("the class", True, _write_class, _read_class),
    OF_ONE: Form("the probability of one class", False, _write_probability, _read_probability, of_class=True),
    OF_EACH: Form("a probability for each class, 1 in sum", False, _write_probability, _read_probability, of_class=True),
    RANKING: Form("the k best classes, the best first", False, _write_ranking, _read_ranking),
}
