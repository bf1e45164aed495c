"""JSON values -> frozen dataclasses, by their annotations, with all faults at once: the one reader of plans.

A field is read from the key of its name, a tuple from a list with at least one entry, a number only if it is finite. Metadata say more:
`inline` means that the fields of a dataclass stand in the same mapping, `written` that a field may not be left out though it has a
default, and `key` gives a field another key.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from system.errors import UserError

Made = TypeVar("Made")
SHOWN = 80
MOST_NUMBER = 1e300
INLINE: Mapping[str, Any] = {"inline": True}
WRITTEN: Mapping[str, Any] = {"written": True}


class _MisfitError(Exception):
    """The value has another form."""


def read(cls: type[Made], value: Any, where: str) -> Made:
    """The dataclass in a JSON value.

    Args:
        cls: A dataclass.
        value: A JSON value.
        where: What it is, for messages.

    Raises:
        UserError: With every fault: no mapping, fields missing or unknown, values of another form, and what the dataclass refuses itself.
    """
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a mapping, got {type(value).__name__}")
    known = _keys(cls)
    faults = [
        f"{where} has an unknown field {str(key)[:SHOWN]!r} (known: {', '.join(known)})" for key in value if key not in known
    ]
    made, more = _fields(cls, value, where)
    if faults + more:
        raise UserError(*faults, *more)
    return cls(**made)


def _fields(cls: Any, value: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """The arguments of a dataclass, and what is wrong with them."""
    made: dict[str, Any] = {}
    faults: list[str] = []
    hints = get_type_hints(cls)
    for one in fields(cls):
        key, kind = _key(one), hints[one.name]
        if one.metadata.get("inline"):
            own, more = _fields(get_origin(kind) or kind, value, where)
            faults += more
            if not more:
                made[one.name] = kind(**own)
        elif key in value:
            try:
                made[one.name] = _made(kind, value[key], f"{where}: {key}")
            except _MisfitError:
                faults.append(f"{where}: {key} must be {_form(kind)}, got {str(value[key])[:SHOWN]!r}")
            except UserError as error:
                faults += error.faults
        elif one.metadata.get("written") or (one.default is MISSING and one.default_factory is MISSING):
            faults.append(f"{where} lacks the field {key!r}")
    return made, faults


def _made(kind: Any, value: Any, where: str) -> Any:
    """The value as `kind`.

    Raises:
        _MisfitError: It has another form.
        UserError: A dataclass in it is wrong.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return _first(inner, value, where)
    if is_dataclass(origin or kind):
        return read(origin or kind, value, where)
    if origin is Literal:
        return _if(value in inner and isinstance(value, str), value)
    if origin is tuple and inner[-1] is Ellipsis:
        _if(isinstance(value, list) and bool(value), value)
        return tuple(_all([(inner[0], one, f"{where}[{at}]") for at, one in enumerate(value)]))
    if origin is tuple:
        _if(isinstance(value, list) and len(value) == len(inner), value)
        return tuple(_all([(one, part, where) for one, part in zip(inner, value, strict=True)]))
    if origin is not None and issubclass(origin, Mapping):
        _if(isinstance(value, dict), value)
        return dict(
            zip(value, _all([(inner[1], part, f"{where} of {name[:SHOWN]}") for name, part in value.items()]), strict=True)
        )
    return _plain(kind, value)


def _plain(kind: Any, value: Any) -> Any:
    """A text, a number, or nothing."""
    if kind is NoneType:
        return _if(value is None, value)
    if kind is float:
        return float(_if(isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_NUMBER, value))
    if kind is int:
        return _if(isinstance(value, int) and not isinstance(value, bool), value)
    return _if(
        isinstance(value, str) and bool(value), value
    )  # a name in place of a number, too, where a dataclass leaves that open


def _first(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first kind that it fits."""
    for kind in kinds:
        try:
            return _made(kind, value, where)
        except _MisfitError:
            continue
    raise _MisfitError


def _all(parts: list[tuple[Any, Any, str]]) -> list[Any]:
    """Every part as its kind; the faults of all of them at once."""
    made, faults = [], list[str]()
    for kind, value, where in parts:
        try:
            made.append(_made(kind, value, where))
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(*faults)
    return made


def _if(fits: bool, value: Any) -> Any:
    if not fits:
        raise _MisfitError
    return value


def _key(one: "Field[Any]") -> str:
    return str(one.metadata.get("key", one.name))


def _keys(cls: Any) -> list[str]:
    """The keys of a mapping that holds the dataclass."""
    hints, keys = get_type_hints(cls), []
    for one in fields(cls):
        kind = hints[one.name]
        keys += _keys(get_origin(kind) or kind) if one.metadata.get("inline") else [_key(one)]
    return keys


def _form(kind: Any) -> str:
    """A kind in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_form(one) for one in sorted(inner, key=lambda one: one is not NoneType))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple and inner[-1] is Ellipsis:
        return "a list of " + _several(inner[0])
    if origin is tuple:
        return f"[{', '.join(_form(one) for one in inner)}]"
    if origin is not None and not is_dataclass(origin) and issubclass(origin, Mapping):
        return "a mapping"
    words = {NoneType: "null", float: "a number", int: "a whole number"}
    return "a mapping" if is_dataclass(origin or kind) else words.get(kind, "a text")


def _several(kind: Any) -> str:
    form = _form(kind)
    return (
        form if form.startswith("[") else form.removeprefix("a ").replace("list of", "lists of") + ("" if " of " in form else "s")
    )
