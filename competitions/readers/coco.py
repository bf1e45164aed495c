"""COCO-style JSON (`images`, `annotations`, `categories`) -> a table with one row per photo, which the settings then read like any other.

    images        every field is a column: id, file_name, location, seq_id, ...
    annotations   joined by image_id; category_id and whatever else they hold, but boxes and ids
    categories    joined by category_id: category_name, category_family, ...

A file without annotations, as organisers hand out for test photos, has the columns of `images` alone (https://cocodataset.org/#format-data).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from competitions.csv_tables import Table
from system.errors import UserError, listed

COCO_PARTS = ("images", "annotations", "categories")


def parse_coco(path: Path, *, name: str = "") -> tuple[Table, list[str]]:
    """The photos of a COCO file, and a sentence for each thing that is wrong with them.

    Raises:
        UserError: There is no such file, or it is no COCO file at all.
    """
    name = name or path.name
    parts = _parts(path, name)
    images, faults = _records(parts["images"], "images"), list[str]()
    columns = _columns(images, "")
    if "id" not in columns:
        raise UserError(f"{name}: its images have no `id`; is it a COCO file?")
    if len(parts) == 1:
        return Table(name, columns, len(images)), faults
    notes = _by_photo(_records(parts.get("annotations", []), "annotations"), faults)
    kinds = {_text(one.get("id")): one for one in _records(parts.get("categories", []), "categories")}
    rows = [notes.get(image_id, {}) for image_id in columns["id"]]
    strange = {_text(row["category_id"]) for row in rows if "category_id" in row} - kinds.keys()
    if strange and kinds:
        faults.append(f"annotations name categories that are not there: {listed(sorted(strange))}; download the file again")
    kind_rows = [kinds.get(_text(row.get("category_id")), {}) for row in rows]
    more = _columns(rows, "", without=("id", "image_id")) | _columns(kind_rows, "category_", without=("id",))
    return Table(name, columns | {h: texts for h, texts in more.items() if h not in columns}, len(images)), faults


def _parts(path: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except ValueError as error:
        raise UserError(f"{name} is no JSON ({' '.join(str(error).split())[:200]}); download it again") from error
    if not isinstance(value, dict) or not isinstance(value.get("images"), list) or not value["images"]:
        raise UserError(
            f"{name} must be a COCO file: a mapping with a list `images` of photos, and `annotations` and `categories` for training"
        )
    return {part: value[part] for part in COCO_PARTS if part in value}


def _records(value: Any, part: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UserError(f"a COCO file's {part} must be a list of mappings; download the file again")
    return value


def _by_photo(annotations: Sequence[Mapping[str, Any]], faults: list[str]) -> dict[str, Mapping[str, Any]]:
    """Photo id -> its annotation; a fault where a photo's annotations name two categories."""
    found: dict[str, Mapping[str, Any]] = {}
    several = dict[str, None]()
    for one in annotations:
        image_id = _text(one.get("image_id"))
        if found.setdefault(image_id, one).get("category_id") != one.get("category_id"):
            several[image_id] = None
    if several:
        faults.append(
            f"a photo's annotations must name one category, those of {len(several)} photos name more: {listed(several)}; "
            f"keep the one that is asked for"
        )
    return found


def _columns(records: Sequence[Mapping[str, Any]], front: str, without: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Each field of some records that is a text or a number, as a column; empty where a record lacks it."""
    names = dict.fromkeys(key for one in records for key in one if key not in without)
    plain = [name for name in names if not any(isinstance(one.get(name), (list, dict)) for one in records)]
    return {front + name: tuple(_text(one.get(name)) for one in records) for name in plain}


def _text(value: Any) -> str:
    return "" if value is None else str(value)
