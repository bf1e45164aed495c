"""Take part in published competitions, drawn small: files as they are handed out -> a submission that the competition's grader accepts.

    python -m benchmarks.published all             # every one, one trial of the space `smoke` each: a few minutes on one core
    python -m benchmarks.published paddy --to out  # one, with its files kept
    python -m benchmarks.published all --read      # only new_competition and prepare, no training: seconds

Each line says how many lines of the YAML a person had to write, the seconds, and the grader's verdict; what cannot run says what is
missing, in the words of docs/results.md. The score means nothing: twelve photos, two epochs.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.published.drawing import Page, Published
from benchmarks.published.fixtures import PUBLISHED
from competitions.metrics import METRICS
from system import verbs
from system.errors import UserError, unknown

ROOT = Path(__file__).parents[2]
SLACK = 1e-9
"""By so much the grader's score and that of Podium's own metric may differ."""


@dataclass(frozen=True)
class Participation:
    """What came of one competition.

    Attributes:
        name: The competition's.
        by_hand: Lines of the YAML that a person had to write.
        seconds: Of all verbs together.
        verdict: `accepted`, or what stopped it.
        score: The grader's; that of Podium's own metric is the same.
    """

    name: str
    by_hand: int
    seconds: float
    verdict: str
    score: float | None = None


def draw(name: str, root: Path) -> Page:
    """The files of a competition in `root`, and the truth beside them; the same for every run."""
    one = PUBLISHED[name]
    page = Page(root, np.random.default_rng(zlib.crc32(name.encode())))
    root.mkdir(parents=True)
    if one.draw is not None:
        one.draw(page)
    return page


def mended(text: str, one: Published) -> tuple[str, int]:
    """The YAML with what a person has to write, and how many lines that is: the metric, which no file says, and `by_hand`."""
    rows, n_changed = [], 0
    for row in text.splitlines():
        key, new = row.partition(":")[0], row
        if key == "metric" and one.metric in METRICS:
            new = f"metric: {one.metric}"
        if key in one.by_hand:
            setting, brace, comment = row.partition("}  #")
            new = f"{setting}, {one.by_hand[key]}{brace}{comment}"
        n_changed += new.partition("  #")[0] != row.partition("  #")[0]
        rows.append(new)
    return "\n".join(rows) + "\n", n_changed


def take_part(name: str, folder: Path, *, read_only: bool) -> Participation:
    """From the files to the grader.

    Args:
        name: One of `PUBLISHED`.
        folder: An empty folder to work in.
        read_only: Stop before anything is trained.
    """
    one, started = PUBLISHED[name], time.monotonic()
    if one.draw is None or one.grade is None:
        return Participation(name, 0, 0.0, f"not yet: {one.lacks}")
    page, yaml, n_by_hand = draw(name, folder / "data" / name), folder / f"{name}.yaml", 0

    def verdict(text: str, score: float | None = None) -> Participation:
        return Participation(name, n_by_hand, round(time.monotonic() - started, 1), text, score)

    try:
        label = ["--label", *one.label] if one.label else []
        _run(folder, "new_competition.py", str(page.root), "--to", str(yaml), *label)
        text, n_by_hand = mended(yaml.read_text(encoding="utf-8"), one)
        yaml.write_text(text, encoding="utf-8")
        _run(folder, "prepare_data.py", str(yaml))
        if read_only:
            return verdict("read")
        _run(folder, "run_search.py", str(yaml), "--space", "smoke", "--trials", "1", "--cpus-per-trial", "1")
        said = _run(folder, "export_ensemble.py", str(yaml), "--to", str(folder / "exported"))
        with open(said["submission"], encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        score, own = one.grade(rows, page.truth), own_score(one.metric, rows, page.truth)
        if own is not None and abs(own - score) > SLACK:
            return verdict(f"accepted, but {one.metric} says {own}", score)
        return verdict("accepted", score)
    except VerbError as error:
        return verdict(f"{error}{f' (missing: {one.lacks})' if one.lacks else ''}")
    except ValueError as error:
        return verdict(f"refused by the grader: {error}")


def own_score(metric: str, rows: list[dict[str, str]], truth: Mapping[str, Any]) -> float | None:
    """What Podium's own metric says of a submission, which is what the grader must say; `None` where it has no such metric."""
    if metric not in METRICS:
        return None
    first, *headers = rows[0]
    cells = {row[first]: [row[header] for header in headers] for row in rows}
    true = [truth[image_id] for image_id in truth]
    said = [cells[image_id] for image_id in truth]
    if not isinstance(true[0], str):  # a column of 0 and 1 each, and a number for it
        columns = np.array(said, dtype=np.float64).reshape(len(said), -1)
        labels = np.array(true, dtype=np.int64).reshape(len(true), -1)
        judged = [METRICS[metric](np.stack([1 - p, p], axis=1), t) for p, t in zip(columns.T, labels.T, strict=True)]
        return float(np.mean(judged))
    if set(true) <= set(headers):
        return METRICS[metric](np.array(said, dtype=np.float64), np.array([headers.index(name) for name in true]))
    names = sorted({*true, *(cell for [cell] in said)}, key=lambda name: (len(name), name))
    answers = np.array([names.index(cell) for [cell] in said])
    return METRICS[metric](np.eye(len(names))[answers], np.array([names.index(name) for name in true]))


class VerbError(Exception):
    """A verb stopped; the message is its first sentence."""


def _run(folder: Path, verb: str, *arguments: str) -> Mapping[str, Any]:
    environment = os.environ | {"PODIUM_DATA": str(folder / "data"), "PODIUM_STORAGE": str(folder / "runs")}
    environment.pop("PODIUM_CACHE", None)
    done = subprocess.run(
        [sys.executable, str(ROOT / verb), *arguments, "--json"], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(f"{verb}: ")]
        raise VerbError((said or done.stderr.splitlines() or [f"{verb} ended with {done.returncode}"])[0 if said else -1][:300])
    value: Mapping[str, Any] = json.loads(done.stdout)
    return value


def call(given: argparse.Namespace) -> list[dict[str, Any]]:
    names = list(PUBLISHED) if given.name == "all" else [given.name]
    if strange := [name for name in names if name not in PUBLISHED]:
        raise UserError(unknown("published competition", strange[0], [*PUBLISHED, "all"]))
    found = []
    with tempfile.TemporaryDirectory(prefix="published-") as place:
        for name in names:
            folder = Path(given.to or place).absolute() / name
            folder.mkdir(parents=True)
            found.append(take_part(name, folder, read_only=given.read))
            print(_line(asdict(found[-1])), file=sys.stderr, flush=True)
    return [asdict(one) for one in found]


def _line(one: Mapping[str, Any]) -> str:
    return f"{one['name']}: {one['by_hand']} lines by hand, {one['seconds']} s, {one['verdict']}"


def show(found: list[dict[str, Any]]) -> None:
    rows = [[one["name"], one["by_hand"], one["seconds"], one["score"], one["verdict"]] for one in found]
    print(verbs.table(rows, ["competition", "lines by hand", "seconds", "score", "verdict"]))
    n_accepted = sum(one["verdict"] in ("accepted", "read") for one in found)
    print(f"{n_accepted} of {len(found)}")


def main() -> int:
    made = verbs.parser(__doc__ or "", "python -m benchmarks.published all")
    made.add_argument("name", help=f"one of {', '.join(PUBLISHED)}, or all")
    made.add_argument("--read", action="store_true", help="only new_competition and prepare; nothing is trained")
    made.add_argument(
        "--to", metavar="DIR", help="keep the files in this folder, which must not be there (default: a passing one)"
    )
    return verbs.run(made, call, show)


if __name__ == "__main__":
    sys.exit(main())
