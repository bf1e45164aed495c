"""Reproducing: a trial of the ledger is trained again from its folder alone -> PASS, or the ingredients that differ. A soup is averaged
again from the weights of its ingredients.

PASS means bit-equal (curve, best epoch, weights) where that is promised: same versions, threads and kind of CPU. Elsewhere it means
within the tolerance of `ledger.reproducibility`. What was trained stands in a folder of its own in the storage and is gone afterwards.
"""

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from competitions.competition import Competition, with_split
from competitions.prepare import prepare
from competitions.targets import targets
from ledger.reading import readable_sessions
from ledger.reproducibility import LOSS_TOLERANCE, Promise, device_of, promise, tolerance, trace
from ledger.trials import ALL_DATA, Record, TrialFolder, is_trial, trial_folders
from system.claims import claim, gone, holder
from system.errors import UserError, unknown
from system.files import copy_file, file_hash, read_lines
from system.paths import CompetitionPaths
from trainables.backbones import check_published, kept_weights
from trainables.best_weights import best_is_whole
from trainables.config import TrialConfig
from trainables.families import ingredient_faults
from trainables.provenance import provenance
from trainables.reproduce.ingredients import Ingredient, of_data, of_sessions, of_settings, of_soup, ordered

log = logging.getLogger("podium.reproduce")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        verdict: PASS or DIFFERS after training; SAME or DIFFERS where the ingredients alone were compared.
        promised: `bits` or `tolerance`: what equal ingredients would have to give on this machine.
        tolerance: By how much scores may differ; 0 where bits are promised.
        equal_bits: Whether curve, best epoch and weights are equal bit for bit; `None` without training.
        epochs: How many were compared.
        reason: One sentence.
        score_then: `None` for a trial that diverged or learned from all photos.
        score_now: `None` as well where nothing was trained.
        restored: Whether the weights were put back.
    """

    trial_id: str
    target: str
    verdict: Literal["PASS", "DIFFERS", "SAME"]
    promised: Promise
    tolerance: float
    equal_bits: bool | None
    epochs: int
    reason: str
    score_then: float | None
    score_now: float | None
    ingredients: tuple[Ingredient, ...]
    restored: bool = False

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "ingredients": [part.json() for part in self.ingredients]}


def reproduce(
    competition: Competition,
    paths: CompetitionPaths,
    trial_id: str,
    *,
    check: bool = False,
    threads: int | None = None,
    restore: bool = False,
    decoding: Progress = lambda done, total: None,
    training: Progress = lambda done, total: None,
) -> Verdict:
    """Train a trial again, as far as it got, and compare.

    Args:
        competition: As its file says today.
        paths: Its folders.
        trial_id: The trial.
        check: Compare the ingredients and train nothing.
        threads: Compute threads, where they are not to be the trial's own.
        restore: Put the weights back into the trial's folder where they are gone and these are the same bits.
        decoding: Told (done, total) photos.
        training: Told (done, total) epochs.

    Raises:
        FullDiskError: There is no room to train it.
        UserError: There is no such trial, it has no record, its target is gone, or data or start weights are not there; or its
            weights are to be restored and nothing is missing.
    """
    folder, record, config = _recorded(paths, trial_id)
    faults = _start_faults(paths, config)
    if config.target not in targets(competition):
        faults.append(f"trial {trial_id} needs a target that is there: {unknown('target', config.target, targets(competition))}")
    if threads is not None and threads < 1:
        faults.append(f"threads must be 1 or more, got {threads}")
    if restore and check:
        faults.append("--check trains nothing, so nothing can be restored; leave one of the two out")
    elif restore and (best_is_whole(folder) or not record.weights):
        why = "has its weights" if record.weights else "never had a best epoch"
        faults.append(f"--restore brings weights back, and trial {trial_id} {why}; leave it out")
    if faults:
        raise UserError(*faults)
    sessions = [{"threads": config.threads, **session} for session in readable_sessions(folder)]
    device = _device(sessions, config)
    today = {**provenance(), "device": device, "threads": threads or config.threads}
    found = of_sessions(sessions, today, config)
    parts = [part for one in found.values() for part in one] + of_settings(paths, trial_id, record, config)
    parts += of_soup(paths, sessions)
    promised = promise(sessions, [today], config.precision)
    if config.split not in competition.all_splits:
        gone_split = Ingredient("split", config.split, sorted(competition.all_splits))
        return _untrained(record, promised, [*parts, gone_split], check=check)
    prepared = prepare(with_split(competition, config.split), paths, progress=decoding)
    data = of_data(paths, prepared, config)
    if check or data:
        return _untrained(record, promised, [*parts, *data], check=check)
    again = replace(config, threads=threads or config.threads)
    with _own_folder(paths, trial_id) as place:
        now = _train(prepared, again, place, record.epochs_done, device, training)
        losses = _losses(TrialFolder(place / again.trial_id))
        restored = restore and _restore(folder, record, TrialFolder(place / again.trial_id))
    n_photos = len(prepared.rows(targets(prepared.competition)[config.target], config.fold)[1])
    return replace(_judged(record, now, _losses(folder), losses, promised, n_photos, parts), restored=restored)


def _recorded(paths: CompetitionPaths, trial_id: str) -> tuple[TrialFolder, Record, TrialConfig]:
    folder, name = TrialFolder(paths.trials / trial_id), paths.root.name
    if not is_trial(paths.trials, trial_id):
        known = [found.id for found in trial_folders(paths.trials)]
        hint = unknown("trial", trial_id, known) if known else f"unknown trial {trial_id!r}; there is none in this storage"
        raise UserError(f"{hint}; show_trials.py {name} lists them")
    try:
        record = folder.record()
        config = TrialConfig.from_json(folder.config())
    except (ValueError, TypeError) as error:
        raise UserError(
            f"trial {trial_id} cannot be read ({error}); copy its folder again, or merge it from a team-mate"
        ) from error
    if record is None or not record.epochs_done:
        raise UserError(
            f"trial {trial_id} has no record: no epoch of it ended; go on with its study (run_search.py {name} --resume)"
        )
    if config.fold == ALL_DATA and not record.weights and not _losses(folder):
        raise UserError(
            f"trial {trial_id} learned from all photos and has neither weights nor losses yet; nothing can be compared"
        )
    return folder, record, config


def _start_faults(paths: CompetitionPaths, config: TrialConfig) -> list[str]:
    """What is wrong with the weights that the trial started from, or was averaged from."""
    if config.soup:
        return ingredient_faults(paths, config)
    try:
        if config.weights.startswith("timm:"):
            check_published(config.backbone)
        elif config.weights and file_hash(kept := kept_weights(paths.data / "weights", config.weights)) != config.weights:
            return [f"start weights {kept.name[:12]} are damaged; copy them again from a team-mate's data/weights"]
    except UserError as error:
        return list(error.faults)
    return []


def _device(sessions: list[dict[str, Any]], config: TrialConfig) -> str:
    """Where the trial was trained last, as far as this machine has it."""
    import torch

    then = device_of(sessions[-1], config.precision) if sessions else "cpu"
    return then if then == "cpu" or torch.cuda.is_available() else "cpu"


def _train(prepared: Any, config: TrialConfig, place: Path, epochs: int, device: str, progress: Progress) -> Record:
    from trainables.attach import attach
    from trainables.soup import average_again
    from trainables.training import TrialRun

    if config.soup:
        return average_again(prepared, config, place, device)
    run = TrialRun(config, attach(prepared, config, trials=place, device=device))
    while run.record.epochs_done < epochs and not run.record.ended:
        run.step()
        progress(run.record.epochs_done, epochs)
    return run.record


def _restore(folder: TrialFolder, then: Record, again: TrialFolder) -> bool:
    """Put back the weights that the record names, and none but these: the cached predictions are theirs.

    Raises:
        UserError: Somebody trains this trial.
    """
    held = claim(folder.claim)
    if held is None:
        raise UserError(f"trial {folder.id} is being trained; it gets its weights from that")
    with held:
        return again.best.is_file() and file_hash(again.best) == then.weights == copy_file(again.best, folder.best)


def _judged(
    then: Record,
    now: Record,
    losses_then: list[Any],
    losses_now: list[Any],
    promised: Promise,
    n_photos: int,
    parts: list[Ingredient],
) -> Verdict:
    """Then against now."""
    judged = then.fold != ALL_DATA
    ways = [
        trace(one.curve, losses, diverged=one.diverged, judged=judged)
        for one, losses in ((then, losses_then[: then.epochs_done]), (now, losses_now[: then.epochs_done]))
    ]
    same_way = ways[0] == ways[1] or (not judged and not losses_then)
    bits = (then.weights, then.best_epoch, then.epochs_done) == (now.weights, now.best_epoch, now.epochs_done) and same_way
    allowed = 0.0 if promised == "bits" else tolerance(n_photos)
    if bits:
        reason = "curve, best epoch and weights are equal bit for bit"
        reason += "" if promised == "bits" else ", more than is promised between these two machines"
    elif promised == "bits":
        reason = "bit-equality is promised here (same versions, threads and kind of CPU) and " + _first(then, now, ways)
    else:
        reason = _apart(then, now, ways, allowed)
    passed = bits or (promised == "tolerance" and _within(then, now, ways, allowed))
    verdict: Literal["PASS", "DIFFERS"] = "PASS" if passed else "DIFFERS"
    return _verdict(then, verdict, promised, reason, parts, allowed=allowed, equal_bits=bits, score_now=now.score)


def _first(then: Record, now: Record, ways: list[Any]) -> str:
    epoch = next((n for n, (a, b) in enumerate(zip(*ways, strict=False), start=1) if a != b), None)
    return f"the two part at epoch {epoch}" if epoch else "the curves are equal and the weights are not"


def _within(then: Record, now: Record, ways: list[Any], allowed: float) -> bool:
    if then.diverged != now.diverged:
        return False
    if then.score is not None and now.score is not None:
        return abs(then.score - now.score) <= allowed
    before, after = (way[-1] if way else None for way in ways)
    if isinstance(before, float) and isinstance(after, float):
        return abs(before - after) <= LOSS_TOLERANCE * abs(before)
    return then.diverged


def _apart(then: Record, now: Record, ways: list[Any], allowed: float) -> str:
    if then.score is not None and now.score is not None:
        text = f"best scores are {abs(then.score - now.score):.4f} apart, up to {allowed:.4f} may be expected"
    elif then.diverged or now.diverged:
        text = "both diverged" if then.diverged and now.diverged else "one of the two diverged"
    else:
        text = f"last training losses {ways[0][-1:]} and {ways[1][-1:]}, up to {LOSS_TOLERANCE:.0%} apart may be expected"
    return f"bit-equality is not promised between these two machines: {text}"


def _untrained(then: Record, promised: Promise, parts: list[Ingredient], *, check: bool) -> Verdict:
    if not check:
        reason = "the trial learned from other photos, labels or folds than there are today, so nothing was trained"
    elif parts:
        reason = f"{len(parts)} ingredients differ; nothing was trained"
    else:
        reason = "all ingredients are the same; nothing was trained"
    return _verdict(then, "DIFFERS" if parts else "SAME", promised, reason, parts)


def _verdict(
    then: Record,
    verdict: Literal["PASS", "DIFFERS", "SAME"],
    promised: Promise,
    reason: str,
    parts: list[Ingredient],
    *,
    allowed: float = 0.0,
    equal_bits: bool | None = None,
    score_now: float | None = None,
) -> Verdict:
    return Verdict(
        trial_id=then.trial_id,
        target=then.target,
        verdict=verdict,
        promised=promised,
        tolerance=allowed,
        equal_bits=equal_bits,
        epochs=then.epochs_done,
        reason=reason,
        score_then=then.score,
        score_now=score_now,
        ingredients=tuple(ordered(parts)),
    )


def _losses(folder: TrialFolder) -> list[Any]:
    try:
        return [line["loss"] for line in read_lines(folder.path / "metrics.jsonl")]
    except (ValueError, TypeError, KeyError) as error:
        log.warning("trial %s: metrics.jsonl cannot be read (%s); losses are not compared", folder.id, error)
        return []


@contextmanager
def _own_folder(paths: CompetitionPaths, trial_id: str) -> Iterator[Path]:
    """A folder in the storage that is gone afterwards; those of killed runs are cleared away first."""
    parent = paths.root / "reproduced"
    _clear(parent)
    place = parent / f"{trial_id}-{secrets.token_hex(4)}"
    held = claim(parent / f"{place.name}.claim")
    assert held is not None, "the name was drawn for this run"
    try:
        with held:
            place.mkdir()
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _clear(parent: Path) -> None:
    for path in sorted(parent.iterdir()) if parent.is_dir() else []:
        owner = holder(parent / f"{path.name.removesuffix('.claim')}.claim")
        if owner is None or gone(owner):
            shutil.rmtree(path) if path.is_dir() else os.unlink(path)  # noqa: PTH108
