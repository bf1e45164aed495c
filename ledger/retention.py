"""Retention of weights (`--keep`): of a competition's trials those that a good ensemble may use keep their weights, others lose them.

Weights are `best.safetensors` and the checkpoints `last` and `previous`; everything else of a trial stays. They go only from trials
that ended, or that a study pruned and no other wants, and never from: one that somebody holds a claim on, a member of an exported ensemble,
one that learned from all photos. To drop is idempotent, so a kill at any point costs nothing and two drivers may do it at once.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ledger.reading import DAMAGE
from ledger.studies import study_folders
from ledger.trials import ALL_DATA, Record, TrialFolder, trial_folders
from system.claims import claim, gone, held_elsewhere, holder
from system.disk import FullDiskError
from system.errors import UserError
from system.files import read_json
from system.paths import CompetitionPaths

EVERYTHING = "all"
POOL = 15
"""An export without `--top` chooses among this many trials of each target (`bundle.gather.WIDTH` times `ensemble.options.MOST`)."""
SIZE_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(SIZE_UNITS)})", re.IGNORECASE)

Group = tuple[str, str, int, str]
"""Target, data, fold, metric: only within one do scores compare."""
State = Literal["finished", "pruned", "diverged"]


@dataclass(frozen=True)
class Keep:
    """How many trials of each group keep their weights, or how many bytes all of them may take; everything is kept with neither."""

    trials: int | None = None
    n_bytes: int | None = None

    @property
    def everything(self) -> bool:
        return self.trials is None and self.n_bytes is None


@dataclass(frozen=True)
class Held:
    """A trial that has weights.

    Attributes:
        state: `None`: it may go on, so its weights are needed.
        protected: Whether something else keeps its weights from going.
        n_bytes: What they take.
    """

    folder: TrialFolder
    record: Record | None
    group: Group
    state: State | None
    protected: bool
    n_bytes: int


@dataclass(frozen=True)
class Dropped:
    """What a look at the weights came to.

    Attributes:
        trials: The ids of the trials whose weights went, by id.
        n_bytes: What they took.
        held: What the weights that are left take.
        blocked: Why nothing may be dropped, if so.
        foreign: Trials whose folders belong to somebody else, so that this user may not drop their weights.
    """

    trials: tuple[str, ...] = ()
    n_bytes: int = 0
    held: int = 0
    blocked: str | None = None
    foreign: tuple[str, ...] = ()


def parse_keep(text: str) -> Keep:
    """What `--keep` says.

    >>> parse_keep("15"), parse_keep("1.5 GB").n_bytes, parse_keep("all").everything
    (Keep(trials=15, n_bytes=None), 1500000000, True)

    Raises:
        UserError: It is neither a number of trials, nor a size, nor `all`.
    """
    size = SIZE.fullmatch(text.strip())
    if text.strip() == EVERYTHING:
        return Keep()
    if text.strip().isdecimal() and int(text) >= 1:
        return Keep(trials=int(text))
    if size and (n_bytes := int(float(size[1]) * {unit.lower(): n for unit, n in SIZE_UNITS.items()}[size[2].lower()])) > 0:
        return Keep(n_bytes=n_bytes)
    raise UserError(
        "keep must be 1 or more trials of each target (15), "
        f"a size of all weights ({', '.join(SIZE_UNITS)}, e.g. 20GB) or all, got {text!r}"
    )


def enforce(paths: CompetitionPaths, keep: Keep, *, patient: bool = False) -> Dropped:
    """Drop the weights that are not to be kept.

    Args:
        paths: The competition's folders.
        keep: What `--keep` says.
        patient: Wait up to five seconds to see whether claims from other machines are alive; else they count as alive.
    """
    if keep.everything:
        return Dropped()
    try:
        held = trials_with_weights(paths, patient=patient)
    except ValueError as error:
        return Dropped(blocked=str(error))
    freed: dict[str, int] = {}
    foreign = []
    for one in losers(held, keep):
        try:
            freed[one.folder.id] = _drop(one)
        except PermissionError:
            foreign.append(one.folder.id)
    gone_from = tuple(sorted(trial for trial, n_bytes in freed.items() if n_bytes))
    left = sum(one.n_bytes for one in held) - sum(freed.values())
    return Dropped(gone_from, sum(freed.values()), left, foreign=tuple(foreign))


def losers(held: Sequence[Held], keep: Keep) -> list[Held]:
    """The trials whose weights go.

    With a number of trials all go but the best finished ones of each group. With a size the best stay while they fit: first the best
    finished one of each group, then the second of each, and so on; then pruned ones likewise, then diverged ones. A group whose next
    trial does not fit gets no more, so that no worse trial stays in the place of a better one.
    """
    free = [one for one in held if one.state is not None and not one.protected]
    if keep.trials is not None:
        stay = {one.folder.id for ranked in _ranked(held, "finished").values() for one in ranked[: keep.trials]}
        return [one for one in free if one.folder.id not in stay]
    room = (keep.n_bytes or 0) - sum(one.n_bytes for one in held if one.state is None or one.protected)
    stay = set()
    for state in ("finished", "pruned", "diverged"):
        for ranked in _in_turn(_ranked(free, state), room):
            stay.add(ranked.folder.id)
            room -= ranked.n_bytes
    return [one for one in free if one.folder.id not in stay]


def trials_with_weights(paths: CompetitionPaths, *, patient: bool = False) -> list[Held]:
    """Every trial that has weights, by id, with what keeps them.

    Raises:
        ValueError: An exported ensemble cannot be read, so nobody knows whose weights it needs.
    """
    folders = [folder for folder in trial_folders(paths.trials) if any(path.exists() for path in weights_of(folder))]
    claims = [folder.claim for folder in folders]
    taken = (
        held_elsewhere(claims) if patient else {path for path in claims if (seen := holder(path)) is not None and not gone(seen)}
    )
    members = exported_members(paths)
    pruned: set[str] | None = None
    held = []
    for folder in folders:
        record, config = _readable(folder)
        state = _ended(record)
        if state is None and record is not None and folder.claim not in taken:
            pruned = _pruned_by_all(paths) if pruned is None else pruned  # reads every study, so only when it matters
            state = "pruned" if folder.id in pruned else None
        protected = folder.claim in taken or folder.id in members or config.get("fold") == ALL_DATA
        group = (str(config.get("target")), str(config.get("data")), int(config.get("fold", 0)), str(config.get("metric")))
        held.append(Held(folder, record, group, state, protected, n_bytes_of(folder)))
    return held


def weights_of(folder: TrialFolder) -> tuple[Path, ...]:
    """The files of weights a trial may have, in the order in which they are dropped."""
    return folder.last, folder.previous, folder.best


def n_bytes_of(folder: TrialFolder) -> int:
    """What a trial's weights take on the disk; a file with two names takes it once."""
    sizes: dict[int, int] = {}
    for path in weights_of(folder):
        with suppress(FileNotFoundError):  # another driver may drop them meanwhile
            status = path.stat()
            sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def has_weights(folder: TrialFolder) -> bool:
    """Whether the best weights of a trial are there."""
    return folder.best.is_file()


def exported_members(paths: CompetitionPaths) -> set[str]:
    """The trials that vote in any ensemble exported from this storage.

    Raises:
        ValueError: One of them cannot be read; the message names it.
    """
    plans = sorted(paths.ensembles.glob("*/plan.json"))
    return {member for plan in plans for member in _members(plan)}


def _members(plan: Path) -> Iterable[str]:
    try:
        return {str(member) for task in read_json(plan)["tasks"] for member, _ in task["voters"]}
    except (ValueError, TypeError, KeyError) as error:
        where = f"ensembles/{plan.parent.name}"
        raise ValueError(f"{where} cannot be read ({error}), so no weights are dropped; delete it, or export it again") from error


def _readable(folder: TrialFolder) -> tuple[Record | None, Mapping[str, Any]]:
    """Record and settings; of a trial where either is damaged, or that a merge moves away, nothing is known, so its weights stay."""
    try:
        return folder.record(), folder.config()
    except (FileNotFoundError, *DAMAGE):
        return None, {}


def _ended(record: Record | None) -> State | None:
    if record is None or not record.ended:
        return None
    return "diverged" if record.diverged else "finished"


def _pruned_by_all(paths: CompetitionPaths) -> set[str]:
    """The unfinished trials that a study pruned and none wants."""
    decided = defaultdict(set)
    for study in study_folders(paths.studies):
        for trial, status in study.statuses().items():
            decided[trial].add(status)
    return {trial for trial, statuses in decided.items() if statuses == {"pruned"}}


def _ranked(held: Iterable[Held], state: str) -> dict[Group, list[Held]]:
    """Per group the trials in this state, best first, ties by id; a finished one without its best weights is of no use."""
    groups: dict[Group, list[Held]] = defaultdict(list)
    for one in held:
        if one.state == state and (state != "finished" or has_weights(one.folder)):
            groups[one.group].append(one)
    return {group: sorted(trials, key=_rank) for group, trials in sorted(groups.items())}


def _rank(one: Held) -> tuple[float, str]:
    score = one.record.score if one.record is not None else None
    return float("inf") if score is None else -score, one.folder.id


def _in_turn(groups: Mapping[Group, Sequence[Held]], room: int) -> Iterable[Held]:
    """The best of each group, then the second of each, while they fit into `room` bytes."""
    waiting = [list(ranked) for ranked in groups.values()]
    while waiting:
        for ranked in waiting:
            if ranked[0].n_bytes <= room:
                room -= ranked[0].n_bytes
                yield ranked.pop(0)
            else:
                ranked.clear()
        waiting = [ranked for ranked in waiting if ranked]


def _drop(one: Held) -> int:
    """Drop a trial's weights under its claim; returns how many bytes went, 0 where somebody works on it or it went on meanwhile."""
    folder = one.folder
    if not folder.path.is_dir():
        return 0
    try:
        held = claim(folder.claim)
        if held is None:
            return 0
    except FullDiskError:  # no room for a claim, so nobody else can make one either
        held = None
    try:
        if _readable(folder)[0] != one.record:
            return 0
        n_bytes = n_bytes_of(folder)
        for path in weights_of(folder):
            path.unlink(missing_ok=True)
        return n_bytes
    finally:
        if held is not None:
            held.release()
