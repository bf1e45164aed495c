"""Every writer on a disk that is full after 0, 1, 2, ... pages: what stood there stays whole, nothing is left over, with room it works."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.harness.tiny_disk import PAGE, Disk, temporary_place, tiny_disk
from ledger.predictions import Predictions
from system.claims import claim
from system.disk import FullDiskError
from system.files import append_line, copy_file, read_lines, replace_bytes

MOST_PAGES = 4096
Snapshot = dict[str, bytes]


@dataclass(frozen=True)
class StarvedWriter:
    """Something that writes.

    Attributes:
        first: Puts the old version there.
        write: Puts the new version there.
        is_whole: Whether what stands there may be read: by a reader who comes when the writer was refused.
    """

    name: str
    first: Callable[[Path], object]
    write: Callable[[Path], object]
    is_whole: Callable[[Path, Snapshot, Snapshot], bool]


def starve(writer: StarvedWriter) -> tuple[int, list[str]]:
    """Refuse a writer room at every page it asks for.

    Returns:
        How often it was refused, and what went wrong.
    """
    with temporary_place() as place:
        wanted, old = _undisturbed(writer, place / "calm")
        refused, faults, pages = 0, list[str](), 0
        while pages < MOST_PAGES:
            with tiny_disk(place / "disk", 64 * 2**20) as disk:
                writer.first(disk.path)
                disk.leave(pages)
                fault = _once(writer, disk, old, wanted)
            if fault is None:
                return refused, faults
            refused += 1
            faults += [f"{writer.name} with {pages} pages: {fault}"] if fault else []
            pages += max(1, pages // 2)
        return refused, [*faults, f"{writer.name} never succeeded"]


def _once(writer: StarvedWriter, disk: Disk, old: Snapshot, wanted: Snapshot) -> str | None:
    """One attempt; `None` where there was room, else what went wrong (`""`: nothing)."""
    try:
        writer.write(disk.path)
    except FullDiskError:
        pass
    except Exception as error:  # whatever else a writer raises is the fault that is looked for
        return f"raised {type(error).__name__}: {error}"
    else:
        return None
    left = snapshot(disk.path)
    if strange := sorted(name for name in left if name not in old and name not in wanted):
        return f"left {', '.join(strange)} behind"
    if not writer.is_whole(disk.path, old, wanted):
        return "left something half-written"
    disk.leave(MOST_PAGES)
    writer.write(disk.path)
    return "" if snapshot(disk.path) == wanted else "came to something else after space was freed"


def _undisturbed(writer: StarvedWriter, folder: Path) -> tuple[Snapshot, Snapshot]:
    folder.mkdir()
    writer.first(folder)
    old = snapshot(folder)
    writer.write(folder)
    return snapshot(folder), old


def snapshot(folder: Path) -> Snapshot:
    """Name -> bytes of every file, hidden ones included."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".filler")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def old_or_new(folder: Path, old: Snapshot, wanted: Snapshot) -> bool:
    """Every file is as before or as it should become."""
    return all(data in (old.get(name), wanted.get(name)) for name, data in snapshot(folder).items())


def plain_writers() -> list[StarvedWriter]:
    """Those that need no network: a file, a copy, a journal, an array, a claim."""
    rng = np.random.default_rng(0)
    probs = rng.random((3000, 3)).astype(np.float16)
    photos = [(f"photo-{n}", f"{n:064}") for n in range(3000)]
    lines = [{"event": "x" * 1000, "n": n} for n in range(12)]

    def journal(folder: Path) -> None:
        for line in lines[len(read_lines(folder / "events.jsonl")) :]:
            append_line(folder / "events.jsonl", line)

    def whole_lines(folder: Path, old: Snapshot, wanted: Snapshot) -> bool:
        data = snapshot(folder).get("events.jsonl", b"")
        return wanted["events.jsonl"].startswith(data) and data[-1:] in (b"", b"\n")

    def make_claim(folder: Path) -> None:
        held = claim(folder / "claim.json")
        assert held is not None, "nobody else works here"
        held.release()

    def predictions(folder: Path) -> None:
        Predictions(folder / "w").write("validation", "age", "identity", photos, probs)

    source = os.urandom(40_000)
    return [
        StarvedWriter("file", _put("f", b"old" * 9000), lambda f: replace_bytes(f / "f", b"new" * 12000), old_or_new),
        StarvedWriter("copy", _put("s", source), lambda f: copy_file(f / "s", f / "below" / "c"), old_or_new),
        StarvedWriter("journal", lambda f: append_line(f / "events.jsonl", lines[0]), journal, whole_lines),
        StarvedWriter("predictions", lambda f: None, predictions, old_or_new),
        StarvedWriter("claim", lambda f: None, make_claim, old_or_new),
    ]


def trained_writers(place: Path) -> list[StarvedWriter]:
    """Those of a trial: its checkpoint, the image cache, a bundle; from one trial that is trained here.

    Raises:
        OSError: `place` has no room.
    """
    from benchmarks._photos import prepared
    from bundle.answer import answer
    from bundle.export import export
    from bundle.gather import gather
    from bundle.opened import Opened
    from competitions.images.image_cache import open_or_build
    from competitions.prepare import root_of
    from competitions.targets import choose_targets
    from ensemble.choose import choose
    from ensemble.options import Options
    from trainables.attach import attach
    from trainables.checkpoint import read_tensors, write_tensors
    from trainables.config import Question, resolve
    from trainables.training import run_trial

    data = prepared(place, n=60, side=32, size=32)
    target = choose_targets(data.competition, None)[0]
    split = data.competition.split.name
    question = Question("bench", target.name, target.heads, target.metric, data.data_fingerprint(target), split, 0, 0, 32)
    settings = {"backbone": "test_byobnet", "epochs": 1, "batch_size": 16, "augmentation": "none"}
    config = resolve(settings, question)
    context = attach(data, config)
    run_trial(config, context)
    tensors, header = read_tensors(context.folder.best)
    options = Options(top=1, plain=True)
    choice = choose(gather(Opened(data), options), options)
    answer(Opened(data), choice.plan, choice.image_ids)
    root = root_of(data.competition, data.paths)

    def checkpoint(folder: Path) -> None:
        write_tensors(folder / "last.safetensors", tensors, {**header, "epoch": 2})

    def cache_whole(folder: Path, old: Snapshot, wanted: Snapshot) -> bool:
        return not [name for name in snapshot(folder) if name.endswith(".json")]

    def bundle(folder: Path) -> None:
        export(Opened(data), choice, folder)

    def as_before(folder: Path, old: Snapshot, wanted: Snapshot) -> bool:
        return not any(name.startswith("bundle") for name in snapshot(folder))

    return [
        StarvedWriter("checkpoint", lambda f: write_tensors(f / "last.safetensors", tensors, header), checkpoint, old_or_new),
        StarvedWriter("image cache", lambda f: None, lambda f: _cached(open_or_build(data.manifest, root, 32, f)), cache_whole),
        StarvedWriter("bundle", lambda f: None, bundle, as_before),
    ]


def _cached(cache: Any) -> None:
    """Take the time of change, which no two builds share, out of the facts."""
    facts = json.loads(cache.path.read_bytes())
    cache.path.write_text(json.dumps({**facts, "mtime_ns": 0}))


def _put(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def starve_all(seed: int) -> tuple[int, list[str], list[str]]:
    """All writers; how often they were refused in all, what went wrong, and their names."""
    with temporary_place() as place:
        writers = [*plain_writers(), *trained_writers(place)]
        found = [starve(writer) for writer in writers]
        shutil.rmtree(place / "runs", ignore_errors=True)
    return sum(n for n, _ in found), [fault for _, faults in found for fault in faults], [writer.name for writer in writers]


assert PAGE >= 512, "a claim has to fit into a page"
