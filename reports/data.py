"""The data page: what there is to learn from, how it is split, and what deserves a look before anybody trains on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from competitions.compare_splits import compare_splits
from competitions.images.image_cache import ImageCache
from competitions.labels import Composition
from competitions.manifest import LABEL
from competitions.prepare import Prepared, root_of
from competitions.report import report
from competitions.splits import PINNED, UNUSABLE
from reports.charts import PALETTE, chart
from reports.page import Chart, render
from reports.photo_labels import class_numbers

MOST_SIZES = 2000
"""So many files at most are asked for their size in pixels, spread over all of them."""
MOST_ROWS = 100
MOST_BARS = 60


@dataclass(frozen=True)
class SheetLink:
    """A contact sheet beside the page: its file, and what is on it in words."""

    file: str
    words: str


def data_page(prepared: Prepared, cache: ImageCache, sheets: Sequence[SheetLink], written: str) -> str:
    """The page as HTML.

    Args:
        prepared: The competition's photos, as `prepare` found them.
        cache: They, decoded.
        sheets: The contact sheets that stand beside the page.
        written: When the page is made, in words.
    """
    found = report(prepared, cache)
    tasks = [*prepared.competition.tasks, *([LABEL] if len(prepared.competition.tasks) > 1 else [])]
    counted = {task: _class_counts(prepared, task) for task in tasks}
    charts: dict[str, Chart] = {f"classes{n}": _class_chart(task, counted[task]) for n, task in enumerate(tasks)}
    sizes, asked = _sizes(prepared)
    if sizes:
        charts["sizes"] = _size_chart(sizes)
    values = {
        "competition": prepared.competition.name,
        "written": written,
        "found": found,
        "splits": compare_splits(prepared),
        "counted": [{"task": task, "chart": f"classes{n}", **counted[task]} for n, task in enumerate(tasks)],
        "formats": _formats(prepared),
        "sizes": sizes.most_common(12),
        "n_sizes": len(sizes),
        "asked": asked,
        "sheets": sheets,
        "most": MOST_ROWS,
        "most_bars": MOST_BARS,
        "group_sizes": _group_sizes(prepared),
    }
    return render("data", values, charts)


def _class_counts(prepared: Prepared, task: str) -> dict[str, Any]:
    """Per class its photos, groups, and photos in each part of the split; classes as the competition orders them."""
    manifest, folds = prepared.manifest, prepared.folds
    classes = prepared.competition.classes(task) if task != LABEL else Composition.of(prepared.competition).label_classes
    numbers = class_numbers(prepared, task)
    kept = prepared.usable() & (numbers >= 0)
    groups: dict[int, set[str]] = {}
    for row in np.flatnonzero(kept).tolist():
        groups.setdefault(int(numbers[row]), set()).add(manifest.groups[row])
    parts = [part for part in np.unique(folds.fold[kept]).tolist() if part not in (PINNED, UNUSABLE)]
    by_part = {f"fold {part}": _counts(numbers[kept & (folds.fold == part)], len(classes)) for part in parts}
    if (pinned := kept & (folds.fold == PINNED)).any():
        by_part["always training"] = _counts(numbers[pinned], len(classes))
    total = _counts(numbers[kept], len(classes))
    rows = [
        {"name": name, "photos": total[n], "groups": len(groups.get(n, ())), "parts": [counts[n] for counts in by_part.values()]}
        for n, name in enumerate(classes)
    ]
    return {"parts": list(by_part), "rows": rows, "unlabelled": int((prepared.usable() & (numbers < 0)).sum())}


def _counts(numbers: NDArray[np.int64], n_classes: int) -> list[int]:
    return [int(n) for n in np.bincount(numbers, minlength=n_classes)]


def _class_chart(task: str, counted: Mapping[str, Any]) -> Chart:
    """Photos per class, the most frequent first; of many classes the most and the least frequent."""
    rows = sorted(counted["rows"], key=lambda row: (-row["photos"], row["name"]))
    shown = rows if len(rows) <= MOST_BARS else [*rows[: MOST_BARS // 2], *rows[-MOST_BARS // 2 :]]
    data = [
        {
            "type": "bar",
            "x": [row["name"] for row in shown],
            "y": [row["photos"] for row in shown],
            "marker": {"color": PALETTE[0]},
        }
    ]
    layout = {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": "photos"}, "rangemode": "tozero"}}
    return chart(f"Photos per class of {task}", data, layout, 280)


def _formats(prepared: Prepared) -> list[tuple[str, int]]:
    """Endings of the files, the most frequent first."""
    endings = Counter(PurePosixPath(path.partition("#")[0]).suffix.lower() or "none" for path in prepared.manifest.paths)
    return endings.most_common(12)


def _sizes(prepared: Prepared) -> tuple[Counter[tuple[int, int]], int]:
    """Width and height of photos in pixels, and how many files were asked; what Pillow cannot open has no size here."""
    from PIL import Image

    root, rows = root_of(prepared.competition, prepared.paths), _spread(len(prepared.manifest), MOST_SIZES)
    sizes: Counter[tuple[int, int]] = Counter()
    for path in (Path(root, prepared.manifest.paths[row]) for row in rows):
        try:
            with Image.open(path) as photo:
                sizes[photo.size] += 1
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    return sizes, len(rows)


def _spread(n: int, most: int) -> list[int]:
    return list(range(n)) if n <= most else np.linspace(0, n - 1, most).astype(int).tolist()


def _size_chart(sizes: Counter[tuple[int, int]]) -> Chart:
    widths, heights = zip(*sizes, strict=True)
    most = max(sizes.values())
    marker = {"color": PALETTE[0], "size": [6 + 18 * (n / most) ** 0.5 for n in sizes.values()], "opacity": 0.7}
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": widths,
            "y": heights,
            "text": [f"{n} photos" for n in sizes.values()],
            "marker": marker,
        }
    ]
    layout = {
        "xaxis": {"title": {"text": "width in pixels"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "height in pixels"}, "rangemode": "tozero"},
    }
    return chart("Width and height of photos, greater marks for more of them", data, layout, 300)


def _group_sizes(prepared: Prepared) -> dict[str, Any]:
    """How many photos the groups to learn from have."""
    kept = prepared.usable()
    sizes = Counter(group for group, use in zip(prepared.manifest.groups, kept, strict=True) if use)
    counts = sorted(sizes.values()) or [0]
    return {"groups": len(sizes), "smallest": counts[0], "median": counts[len(counts) // 2], "largest": sizes.most_common(5)}
