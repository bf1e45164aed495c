"""Path rules: `"{id}.jpg"` or `"{chain}/{image}"` says where each photo is, from the columns of its row.

`{header}` is the field of that column, `{header[0]}` its first sign, `{header[:2]}` its first two; `{id}` is the photo's id where no column
has this name. A rule without braces is the name of a column that holds the paths.
"""

import re
from collections.abc import Mapping, Sequence

from system.errors import unknown

ID = "id"
"""The word of a rule that always means the photo's id."""
_FIELD = re.compile(r"\{(?P<name>[^{}\[\]]+)(?:\[(?P<start>-?\d*)(?P<cut>:?)(?P<stop>-?\d*)\])?\}")


def is_rule(path: str | None) -> bool:
    """Whether a setting `columns.path` is a rule, and not the name of a column."""
    return path is not None and "{" in path


def rule_faults(rule: str) -> list[str]:
    """What is wrong with the form of a rule."""
    rest = _FIELD.sub("", rule)
    if "{" in rest or "}" in rest or not all(_slice(found) for found in _FIELD.finditer(rule)):
        return [
            f'a path rule must name columns in braces, as "{{id}}.jpg", "{{chain}}/{{image}}" or "{{id[0]}}/{{id}}.png", got {rule!r}'
        ]
    return []


def columns_of(rule: str, headers: Sequence[str], image: str) -> dict[str, str]:
    """The names in a rule -> the columns that are meant."""
    names = dict.fromkeys(found["name"] for found in _FIELD.finditer(rule))
    return {name: image if name == ID and ID not in headers else name for name in names}


def missing_columns(rule: str, headers: Sequence[str], image: str) -> list[str]:
    """A sentence for each column of a rule that is not there."""
    return [unknown("column", column, headers) for column in columns_of(rule, headers, image).values() if column not in headers]


def filled(rule: str, columns: Mapping[str, Sequence[str]], image: str) -> list[str]:
    """The N paths of a rule.

    Args:
        rule: With names of columns in braces.
        columns: Header -> N texts; all that the rule names are there.
        image: The column of the ids.
    """
    meant = columns_of(rule, list(columns), image)
    used = list(dict.fromkeys(meant.values()))
    rows = zip(*(columns[column] for column in used), strict=True)
    places = {name: used.index(column) for name, column in meant.items()}
    return [_FIELD.sub(lambda found: _cut(row[places[found["name"]]], found), rule) for row in rows]  # noqa: B023 - called at once


def of_id(rule: str | None, image_id: str, image: str) -> str | None:
    """The path of a photo of which only the id is known; `None` where a rule needs more, or there is none."""
    if rule is None or not is_rule(rule) or set(columns_of(rule, [], image)) - {ID, image}:
        return None
    return filled(rule, {image: [image_id], ID: [image_id]}, image)[0]


def _slice(found: re.Match[str]) -> bool:
    return (
        found["start"] is None
        or found["cut"] == ":"
        or (re.fullmatch(r"-?\d+", found["start"]) is not None and not found["stop"])
    )


def _cut(text: str, found: re.Match[str]) -> str:
    if found["start"] is None:
        return text
    start, stop = (int(number) if number not in ("", "-") else None for number in (found["start"], found["stop"]))
    if found["cut"]:
        return text[start:stop]
    number = start or 0
    return text[number : number + 1 or None]
