"""What readers ask of a competition's settings: one that a reader needs must be there, one that would have no effect must not."""

from collections.abc import Mapping
from typing import Any

WITHOUT_TABLE = {
    "folders": ("table", "columns", "column", "cuts"),
    "idx": ("table", "columns", "roles", "column", "cuts"),
    "mask": ("table", "columns", "roles", "images"),
}
"""Reader whose layout says what a table's settings say elsewhere -> the settings that mean nothing to it."""
ONE_TASK = ("folders", "idx")
_DEFAULTS: dict[str, Any] = {"table": "manifest.csv", "images": "", "roles": {"train": "train", "test": "test"}}


def reader_faults(raw: Mapping[str, Any]) -> list[str]:
    """The mistakes between the reader and the other settings, in a mapping whose single settings may be wrong too."""
    reader = raw.get("reader", "csv")
    unused = WITHOUT_TABLE.get(reader, ()) if isinstance(reader, str) else ()
    faults = [
        _no_effect(name, reader) for name in unused if name in _DEFAULTS and raw.get(name, _DEFAULTS[name]) != _DEFAULTS[name]
    ]
    if "columns" in unused:
        given = [f"columns.{name}" for name, value in _mapping(raw.get("columns")).items() if value != _column_default(name)]
        faults += [_no_effect(", ".join(given), reader)] if given else []
    tasks = _mapping(raw.get("tasks"))
    for name, task in tasks.items():
        given = [key for key in ("column", "cuts") if _mapping(task).get(key) not in (None, "")]
        faults += [_no_effect(f"tasks.{name}.{key}", reader) for key in given if key in unused]
        if "column" not in unused and isinstance(task, dict) and "column" not in given:
            faults.append(f"tasks.{name}.column is missing; it names the column that holds the task's answers")
    if reader in ONE_TASK and len(tasks) > 1:
        faults.append(
            f"the reader {reader} knows one class per photo, so one task, got {', '.join(map(str, tasks))}; use a table"
        )
    if raw.get("test_images") is not None and not _mapping(raw.get("submission")).get("sample"):
        faults.append("test_images has no effect without submission.sample, which lists the test photos; name it or leave it out")
    return faults


def _no_effect(setting: str, reader: str) -> str:
    return f"{setting} has no effect with the reader {reader}; leave it out"


def _column_default(name: str) -> str | None:
    return "image" if name == "image" else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
