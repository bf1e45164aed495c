"""A draft -> `competitions/<name>.yaml`: one setting per line, how it was decided behind it, other readings below it as comments.

The file is written once and never overwritten. It is read again before it is written, so that whoever asked is told what is left to mend.
"""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from competitions.draft.draft import draft, sizes
from competitions.draft.folder import Unpacked, look
from competitions.draft.layouts import Draft
from competitions.images.decode import read_image
from competitions.loading import parse_competition
from competitions.readers.read import read
from system.errors import UserError
from system.paths import check_name, data_root

PHOTOS_MEASURED = 40
"""So many photos say the size."""


@dataclass(frozen=True)
class WrittenDraft:
    """What came of a folder.

    Attributes:
        name: The competition's.
        path: The file.
        text: What stands in it.
        found: Each setting and how it was decided, one line each.
        choices: What a person should look at.
        notes: What was passed over.
        faults: What keeps the file from being read as it is; none where `prepare_data.py` works at once.
    """

    name: str
    path: Path
    text: str
    found: tuple[str, ...]
    choices: tuple[str, ...]
    notes: tuple[str, ...]
    faults: tuple[str, ...]


def write_competition(root: Path, *, name: str = "", labels: Sequence[str] = (), path: Path) -> WrittenDraft:
    """Look at a folder and write the first YAML of its competition.

    Args:
        root: The folder, below `PODIUM_DATA`.
        name: What the competition is called; after the folder where it is empty.
        labels: The columns that are asked for, where somebody says it.
        path: The folder that the file is written to, or the file itself where it ends in .yaml.

    Raises:
        UserError: The folder is not below `PODIUM_DATA`, says nothing of a competition, or the file is there already.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 - links stay links: PODIUM_DATA may be one
    name = (
        name or path.stem
        if path.suffix in (".yaml", ".yml")
        else name or re.sub(r"[^A-Za-z0-9_.-]+", "_", root.name).strip("_.-")
    )
    check_name("competition", name)
    file = path if path.suffix in (".yaml", ".yml") else path / f"{name}.yaml"
    if file.exists():
        raise UserError(f"{file} is there already and is never overwritten; give another --name, or remove it")
    if not root.is_dir():
        raise UserError(f"FOLDER must be a folder, got {root}, which is not there")
    below = _below_data(root)
    folder = look(root)
    made = draft(folder, labels)
    if any(photo.endswith(".npy") for photo in folder.photos):
        _say_values(folder, made)
    size, why = sizes(_shapes(folder))
    made.say("image_size", size, why)
    known: dict[str, Any] = {setting.key: setting.value for setting in made.settings}
    parts, role = known.get("roles", {}).get("train"), known.get("columns", {}).get("role")
    own = [f"split: {{given: {_flow(role)}}}  # the part that was handed out judges"] if role and isinstance(parts, list) else []
    made.say("split", {"folds": 5, "seed": 0}, "by group where there are groups; every photo judges once", own)
    made.say(
        "views",
        ["identity", "zoom_in", "zoom_out"],
        "",
        ["views: [identity, hflip, zoom_in, zoom_out]  # where left and right do not matter"],
    )
    text = _text(name, below, made)
    with file.open("x", encoding="utf-8") as opened:
        opened.write(text)
    found = tuple(f"{s.key}: {_flow(s.value)}{f' ({s.why})' if s.why else ''}" for s in made.settings)
    return WrittenDraft(name, file, text, found, tuple(made.choices), tuple(made.notes), _faults(text, name, root))


def _below_data(root: Path) -> str:
    data = data_root()
    if root == data or not root.is_relative_to(data):
        raise UserError(
            f"FOLDER must stand below PODIUM_DATA, the folder that holds the data of all competitions ({data}), got {root}; "
            f"move it there, or write PODIUM_DATA={root.parent} into .env or the environment"
        )
    return root.relative_to(data).as_posix()


def _say_values(folder: Unpacked, made: Draft) -> None:
    """The range of arrays of other numbers than bytes: of a few of them, all but the outermost thousandth on either side."""
    step = max(1, len(folder.photos) // PHOTOS_MEASURED)
    arrays = [np.load(folder.root / photo, allow_pickle=False) for photo in folder.photos[::step] if photo.endswith(".npy")]
    numbers = np.concatenate([array.astype(np.float64).ravel() for array in arrays if array.dtype != np.uint8] or [np.zeros(0)])
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers):
        low, high = (float(f"{edge:.3g}") for edge in np.quantile(numbers, [0.001, 0.999]))
        made.say(
            "values",
            [low, max(high, low + 1e-6)],
            f"black and white: all but a thousandth of the numbers of {len(arrays)} arrays",
        )
        made.choices.append(f"values: {low:g} is black and {high:g} white; what lies beyond is cut off")


def _shapes(folder: Unpacked) -> list[tuple[int, int]]:
    """Width and height of some photos, taken evenly from all; one that cannot be opened says nothing."""
    step = max(1, len(folder.photos) // PHOTOS_MEASURED)
    first = [f"{name}#0" for name in folder.pixels[:1]]
    first += [
        next(p for p in paths if ".npz#" in p) for t in folder.tables.values() for paths in t.columns.values() if _packed(paths)
    ][:1]
    shapes = [read_image(folder.root, path).shape[:2] for path in first]
    for photo in folder.photos[::step][:PHOTOS_MEASURED]:
        with suppress(OSError, ValueError, Image.DecompressionBombError), Image.open(folder.root / photo) as opened:
            shapes.append(opened.size)
    return shapes


def _packed(paths: Sequence[str]) -> bool:
    return bool(paths) and ".npz#" in paths[0]


def _faults(text: str, name: str, root: Path) -> tuple[str, ...]:
    """What the readers say of the file."""
    try:
        read(parse_competition(text, name, where=f"{name}.yaml"), root)
    except UserError as error:
        return error.faults
    return ()


def _text(name: str, below: str, made: Draft) -> str:
    lines = [f"# {name}: written by new_competition.py from what it found; mend it where it errs (docs/own-competition.md).", "#"]
    lines += [f"# Look at this: {choice}" for choice in made.choices]
    lines += [f"# Note: {note}" for note in made.notes]
    lines += ["#", f"# Command: python prepare_data.py {name}", f"root: {_flow(below)}"]
    for setting in made.settings:
        comment = f"  # {setting.why}" if setting.why else ""
        if setting.key == "tasks":
            lines.append(f"tasks:{comment}")
            lines += [f"  {_flow(task)}: {_flow(value)}" for task, value in setting.value.items()]
            lines += [f"  # {line}" for line in setting.instead]
        else:
            lines.append(f"{setting.key}: {_flow(setting.value)}{comment}")
            lines += [f"# {line}" for line in setting.instead]
    return "\n".join(_one_line(line) for line in lines) + "\n"


def _one_line(line: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in line)


def _flow(value: Any) -> str:
    """A value as YAML on one line; a text is quoted where YAML would read something else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    plain = re.fullmatch(r"[\w./ -]+", value) and value == value.strip() and not value.startswith("-")
    return value if plain and yaml.safe_load(value) == value else json.dumps(value, ensure_ascii=False)
