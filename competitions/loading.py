"""From `competitions/<name>.yaml` to one checked `Competition`: every mistake in the file is found in one reading and named together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from competitions.competition import (
    DEFAULT_READER,
    NAME_PATTERN,
    TARGET_PATTERN,
    TRIAL_PATTERN,
    ColumnForm,
    Columns,
    Competition,
    Split,
    Submission,
    TargetSpec,
    Task,
    with_split,
)
from competitions.metrics import OWN_METRIC
from competitions.own_metrics import read_own_metric
from competitions.readers.read import READERS
from competitions.validation import reader_faults, setting_faults
from system.errors import UserError, unknown

COMPETITION_FOLDER = Path(__file__).parent


def known_competitions() -> list[str]:
    """The names of all competition files; helper files begin with an underscore."""
    return sorted(path.stem for path in COMPETITION_FOLDER.glob("*.yaml") if not path.stem.startswith("_"))


def load_competition(name: str, split: str | None = None) -> Competition:
    """The competition called `name`, or the one in the YAML file `name` points to, cut by the split of this name.

    Raises:
        UserError: There is no such file or split, or the file has mistakes; all of them are named.
    """
    is_path = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_path else COMPETITION_FOLDER / f"{name}.yaml"
    if not path.is_file() or not (is_path or name in known_competitions()):
        raise UserError(unknown("competition", name, known_competitions()) + "; a new one is a file competitions/<name>.yaml")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    return with_split(parse_competition(text, path.stem, where=path.name, folder=path.parent), split)


def parse_competition(text: str, name: str, *, where: str, folder: Path = COMPETITION_FOLDER) -> Competition:
    """The competition in a YAML `text`; `where` names the source in messages, a metric of its own is a file of `folder`.

    Raises:
        UserError: With one sentence per mistake, those of single settings and those between settings together.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a mapping of settings, got {type(value).__name__}; competitions/demo.yaml shows one")
    raw = {"name": name, **value}
    faults = _reader_faults(raw) + _own_metric(raw, folder)
    try:
        competition = Competition.model_validate(raw)
    except ValidationError as error:
        # pydantic leaves out checks between settings as soon as one setting fails, so they run on the raw mapping here
        faults = [_sentence(fault) for fault in error.errors() if fault["loc"]] + setting_faults(raw) + faults
        raise UserError(*(f"{where}: {fault}" for fault in faults or [_sentence(f) for f in error.errors()])) from error
    if faults:
        raise UserError(*(f"{where}: {fault}" for fault in faults))
    if competition.name != name:
        raise UserError(
            f"{where}: name must be the file's own, {name!r}, got {competition.name!r}; leave it out or rename the file"
        )
    return competition


def _own_metric(raw: dict[str, Any], folder: Path) -> list[str]:
    """Put the file's hash and text to a metric that is a function of a file; the mistakes of it."""
    metric = raw.get("metric")
    if not isinstance(metric, str) or not OWN_METRIC.match(metric):
        return []
    try:
        raw["metric"], raw["metric_source"] = read_own_metric(metric, folder)
    except UserError as error:
        return list(error.faults)
    return []


def _reader_faults(raw: Mapping[str, Any]) -> list[str]:
    """The mistakes between the reader and the other settings; an unknown reader is taken for one with a table."""
    name = raw.get("reader", DEFAULT_READER)
    if not isinstance(name, str):
        return []
    known = READERS.get(name, READERS[DEFAULT_READER])
    faults = [] if name in READERS else [unknown("reader", name, READERS)]
    return faults + reader_faults(raw, name, unused=known.unused, one_task=known.one_task)


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake: plain YAML silently keeps the last, and a task would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.MarkedYAMLError(problem=f"these keys stand twice: {', '.join(twice)}", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_MESSAGES = {
    "missing": "is missing",
    "string_type": "must be a text (quote it)",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt:g}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "too_short": "must have at least {min_length} entries",
    "string_pattern_mismatch": "must {pattern}",
}
ROLE_WAY_OUT = "; a role may have several words: to learn from the photos of {word}, write `train: [train, {word}]`"
_PATTERNS = {
    NAME_PATTERN: "begin with a letter or digit and hold only letters, digits and _ . -",
    TARGET_PATTERN: "begin with a letter or digit and hold only letters, digits and _ . @ = + -",
    TRIAL_PATTERN: "be the id of a trial, 12 digits from 0 to f",
}


def _sentence(fault: Any) -> str:
    """One mistake of a single setting, from pydantic's record of it."""
    *above, last = place = [str(part) for part in fault["loc"] if part != "[key]"] or ["the file"]
    if place[:2] == ["submission", "forms"]:  # a column's form is written beside its task
        place[1] = "answers"
        *above, last = place
    if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        at = ".".join(above)
        return (f"{at}: " if at else "") + unknown("setting", last, list(_settings_at(tuple(above))))
    given = "" if fault["type"] in {"value_error", "missing"} else f", got {fault['input']!r}"
    if fault["type"] in _MESSAGES:
        facts = fault.get("ctx", {})
        facts = facts | {"pattern": _PATTERNS.get(facts.get("pattern"), "")}
        way_out = ROLE_WAY_OUT.format(word=last) if above == ["roles"] and fault["type"] == "literal_error" else ""
        return f"{'.'.join(place)} {_MESSAGES[fault['type']].format(**facts)}{given}{way_out}"
    return f"{'.'.join(place)}: {fault['msg'].removeprefix('Value error, ')}{given}"


def _settings_at(place: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the settings at a place in the file."""
    parts: dict[str, type[BaseModel]] = {
        "columns": Columns,
        "split": Split,
        "splits": Split,
        "submission": Submission,
        "tasks": Task,
    }
    parts["targets"] = TargetSpec
    if place[:2] == ("submission", "answers"):
        return ("task", *ColumnForm.model_fields)
    if place[:2] in (("submission", "rows"), ("submission", "unit")):
        return ("id", "value") if place[1] == "rows" else ("column", "how")
    return tuple((parts[place[0]] if place else Competition).model_fields)
