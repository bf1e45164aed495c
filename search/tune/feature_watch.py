"""How far features are: worker processes compute them, and what these say is seen by nobody; the driver looks at their files."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from system.claims import holder
from system.files import read_json
from system.progress import clock

WATCH_S = 2.0


@contextmanager
def watching(folder: Path, note: Callable[[str], None]) -> Iterator[None]:
    """While this is open, `note` is told which features in `folder` are being computed, and "" when none are."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, note, over), name="features", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(folder: Path, note: Callable[[str], None], over: threading.Event) -> None:
    began: dict[Path, tuple[float, int]] = {}
    told = False
    while not over.wait(WATCH_S):
        lines = [line for place in _worked_on(folder) if (line := _progress(place, began))]
        if lines or told:
            note("; ".join(lines))
        told = bool(lines)


def _worked_on(folder: Path) -> list[Path]:
    """The folders of features in which somebody holds a claim."""
    return sorted({path.parent for path in folder.glob("*/*.claim") if holder(path) is not None})


def _progress(place: Path, began: dict[Path, tuple[float, int]]) -> str:
    """E.g. `features tf_efficientnet_lite0-128-identity 3/16, about 0:40 left`; nothing where they cannot be read just now."""
    try:
        parts = read_json(place / "asked.json")["parts"]
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    done, now = sum((place / f"{part:05d}.npy").exists() for part in parts), time.monotonic()
    since, before = began.setdefault(place, (now, done))
    left = f", about {clock((now - since) / (done - before) * (len(parts) - done))} left" if done > before else ""
    return f"features {place.name.rpartition('-')[0]} {done}/{len(parts)}{left}"
