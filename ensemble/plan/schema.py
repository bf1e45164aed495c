"""The fields of a plan's JSON and the form of each: a value -> the sentences that say what is wrong with its form."""

from collections.abc import Callable, Mapping
from typing import Any

SCHEMA = 1  # raised when a plan written before can no longer be read as it is

Form = tuple[str, Callable[[Any], bool]]
Fields = Mapping[str, Form]


def form_faults(value: Any, fields: Fields, where: str, optional: Fields | None = None) -> list[str]:
    """What is wrong with a mapping: not a mapping, fields missing or not known, values of another form."""
    optional = optional or {}
    if not isinstance(value, dict):
        return [f"{where} must be a mapping, got {type(value).__name__}"]
    faults = [
        f"{where} has an unknown field {name!r} (known: {', '.join(fields)})"
        for name in value
        if name not in {**fields, **optional}
    ]
    faults += [f"{where} lacks the field {name!r}" for name in fields if name not in value]
    for name, (form, fits) in {**fields, **optional}.items():
        if name in value and not fits(value[name]):
            faults.append(f"{where}: {name} must be {form}, got {str(value[name])[:80]!r}")
    return faults


def plan_faults(value: Any) -> list[str]:
    """Everything wrong with the form of a plan's JSON value, its parts included."""
    if isinstance(value, dict) and value.get("schema", SCHEMA) != SCHEMA:
        return [f"plan: schema must be {SCHEMA}, got {value['schema']!r}; another version of Podium wrote it, export it again"]
    faults = form_faults(value, PLAN, "plan", OPTIONAL)
    if faults:
        return faults
    faults = form_faults(value["composition"], TABLE, "plan: composition")
    faults += form_faults(value["submission"], FORMAT, "plan: submission")
    for number, task in enumerate(value["tasks"]):
        faults += form_faults(task, TASK, f"plan: tasks[{number}]", OPTIONAL_IN_TASK)
    return faults


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _name(value: Any) -> bool:
    """A text that may become part of a file's name."""
    return _text(value) and value[0] != "." and not set(value) & set("/\\\0")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # NaN is not


def _listing(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(fits, value))


def _pair(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == 2 and all(map(fits, value))


def _optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _condition(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _text(value[0]) and _listing(_text)(value[1])


def _headers(value: Any) -> bool:
    return _listing(_pair(_text))(value) and len({header for header, _ in value}) == len(value)


def _mapping(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(_name(name) and fits(part) for name, part in value.items())


def _weights(value: Any) -> bool:
    return _listing(_number)(value) or _listing(_listing(_number))(value)


def _fields(value: Any, **forms: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and set(value) == set(forms) and all(fits(value[name]) for name, fits in forms.items())


def _calibration(value: Any) -> bool:
    return _fields(value, slopes=_listing(_number), biases=_listing(_number)) and len(value["slopes"]) == len(value["biases"])


def _correction(value: Any) -> bool:
    return _fields(value, old=_listing(_number), new=_listing(_number), source=_text)


def _stacking(value: Any) -> bool:
    return _fields(
        value,
        n_classes=_whole,
        present=_listing(_whole),
        coefficients=_listing(_listing(_number)),
        intercepts=_listing(_number),
        penalty=_number,
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


PLAN: Fields = {
    "schema": (str(SCHEMA), lambda value: value == SCHEMA and _number(value)),
    "competition": ("a name", _name),
    "metric": ("a name", _text),
    "tasks": ("a list of mappings", _listing(lambda value: isinstance(value, dict))),
    "composition": ("a mapping", lambda value: isinstance(value, dict)),
    "submission": ("a mapping", lambda value: isinstance(value, dict)),
}
TASK: Fields = {
    "task": ("a name", _text),
    "classes": ("a list of names", _listing(_text)),
    "voters": ("a list of [trial_id, view]", _listing(_pair(_name))),
    "weights": ("null or a list of numbers", _optional(_weights)),
    "rule": ("a name", _text),
    "tie_rule": ("a text", _text),
    "prior": ("a list of numbers", _listing(_number)),
    "score": ("null or a number", _optional(_number)),
}
OPTIONAL: Fields = {
    "imports": ("a mapping of members to names", _mapping(_text)),
    "together": ("a mapping", lambda value: isinstance(value, dict)),
}
OPTIONAL_IN_TASK: Fields = {
    "where": ("a list of [task, list of class names]", _listing(_condition)),
    "models": ("a mapping of members to lists of trials", _mapping(_listing(_name))),
    "calibration": ("a mapping of members to lists of slopes and biases", _mapping(_listing(_calibration))),
    "correction": ("old and new shares and their source", _correction),
    "stacking": ("a fitted stacking", _stacking),
    "offsets": ("a list of numbers", _listing(_number)),
    "same_group": ("a name", _text),
    "quota_of": ("a name", _text),
    "quota": ("a list of shares", _listing(_number)),
    "accounts": ("a list of mappings", _listing(lambda value: isinstance(value, dict))),
}
TABLE: Fields = {
    "tasks": ("a list of names", _listing(_text)),
    "classes": ("a list of lists of names", _listing(_listing(_text))),
}
FORMAT: Fields = {
    "id_column": ("a text", _text),
    "answers": ("a list of [header, task], headers different", _headers),
    "values": ("name or index", lambda value: value in ("name", "index")),
}
