"""R13: a finished search that is extended equals one that was asked for all of its trials from the start, one trial at a time.

Compared are the suggestions byte by byte (from the seventh on the sampler draws by all that it knows), what was decided about each
trial, and the best weights.
"""

import hashlib
import json
from typing import Any

from benchmarks.faults.harness import short_form, truth
from benchmarks.faults.harness.rows import RuleRow
from benchmarks.faults.harness.studies import Place, place


def run(seed: int, short: bool) -> list[RuleRow]:
    """Extend seven trials to twelve, which are drawn by what was learned."""
    if short:
        return [short_form.row("R13", "a search extended from 1 to 3 trials", seed)]
    first, all_of_them = 7, 12
    with place() as at_once, place() as extended:
        at_once.search("--trials", all_of_them, "--seed", seed).wait()
        extended.search("--trials", first, "--seed", seed).wait()
        extended.resume("--trials", all_of_them).wait()
        pictures = [_picture(where) for where in (at_once, extended)]
        twice = len(truth.trained_twice(extended.truth()))
    differ = sum(ours != theirs for ours, theirs in zip(*pictures, strict=True)) if _lengths(pictures) else -1
    said = (
        f"{len(pictures[1])} suggestions, of which {'a different number' if differ < 0 else differ} differ from those of the study "
        f"that was asked for all at once; {twice} trained twice"
    )
    held = differ == 0 and not twice and len(pictures[0]) >= all_of_them
    return [RuleRow("R13", f"a search extended from {first} to {all_of_them} trials", 1, said, _control(seed), held)]


def _lengths(pictures: list[list[Any]]) -> bool:
    return len(pictures[0]) == len(pictures[1])


def _picture(where: Place) -> list[tuple[str, str, str | None]]:
    """Per suggestion its bytes, what was decided about it and its best weights."""
    study = where.kept / "studies/s"
    decided: dict[str, str] = {}
    for event in map(json.loads, (study / "events.jsonl").read_text().splitlines()):
        if event["event"] not in ("started",) and "trial_id" in event:
            decided[event["trial_id"]] = f"{event['event']} {event.get('epoch')} {event.get('score')}"
    found = []
    for file in sorted((study / "suggestions").glob("[0-9]*.json")):
        content = file.read_bytes()
        trial = json.loads(content)["trial_id"]
        best = where.kept / "trials" / trial / "best.safetensors"
        weights = hashlib.sha256(best.read_bytes()).hexdigest() if best.exists() else None
        found.append((hashlib.sha256(content).hexdigest(), decided.get(trial, "-"), weights))
    return found


def _control(seed: int) -> str:
    """Bare Ray Tune, asked for more when it is restored."""
    with place() as where:
        where.control("--trials", 2, "--seed", seed).wait()
        again = where.control("--trials", 4, "--seed", seed).results()
        return f"asked for 4 after 2: {len(again['results'])} trials, and it says nothing of it"
