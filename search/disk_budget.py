"""Room on the disk: what a study's weights may take, before it starts, and the quota that keeps them bounded while it runs."""

import logging
from typing import Any

from ledger.retention import EVERYTHING, POOL, Keep, enforce, parse_keep, trials_with_weights
from ledger.studies import WAITING
from search.plan import Plan
from search.space_check import drawn as draws_of
from system.disk import bytes_text, free_bytes, full_disk
from system.paths import CompetitionPaths

log = logging.getLogger("podium.search")
TIGHT = 0.8
"""Weights that may take more than this share of what is free are worth a line."""
BUDGET_DRAWS = 60


class Tidy:
    """Drops the weights that a study's quota does not keep, whenever it is called.

    Attributes:
        freed: Bytes so far.
    """

    def __init__(self, paths: CompetitionPaths, keep: str | None) -> None:
        """`keep` as `--keep` says it."""
        self._paths, self._keep, self._text = paths, parse_keep(EVERYTHING if keep is None else keep), keep
        self.freed = 0
        self._said: set[str] = set()

    def __call__(self, *, last: bool = False) -> None:
        """Drop, and say so; at the `last` call, also what stands in the quota's way."""
        done = enforce(self._paths, self._keep, patient=last)
        self.freed += done.n_bytes
        if done.trials:
            log.info(
                "dropped the weights of %d trials (%s): %s", len(done.trials), bytes_text(done.n_bytes), " ".join(done.trials)
            )
        if done.blocked:
            self._say(done.blocked)
        if last and done.foreign:
            self._say(
                f"the weights of {len(done.foreign)} trials belong to another user, who alone may drop them: --keep {self._text}"
            )
        if last and self._keep.n_bytes is not None and done.held > self._keep.n_bytes:
            self._say(
                f"weights take {bytes_text(done.held)}, more than --keep {self._text}: exported ensembles, trials on all data and "
                "unfinished trials keep theirs"
            )

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)


def check_disk_budget(plan: Plan) -> None:
    """Say what the weights of a study's trials may take where that becomes tight, and what a small quota means.

    Raises:
        FullDiskError: Less is free than the weights of its first trial take.
    """
    waiting = _remaining(plan)
    if not any(waiting.values()):
        return
    keep = parse_keep(EVERYTHING if plan.request.keep is None else plan.request.keep)
    if keep.trials is not None and keep.trials < POOL:
        log.warning(
            "--keep %d keeps fewer trials of a target than an export chooses among (%d); enough for --top %d",
            keep.trials,
            POOL,
            max(1, keep.trials // 3),
        )
    sizes = {name: _sizes(plan, name) for name, n in waiting.items() if n}
    first, free = min(bytes_each[0] for bytes_each in sizes.values()), free_bytes(plan.paths.root)
    if first > free:
        raise full_disk(plan.paths.root, first)
    most = _most(keep, {name: (waiting[name], max(bytes_each)) for name, bytes_each in sizes.items()})
    if most > TIGHT * free:
        way_out = (
            "" if not keep.everything else f"; --keep {POOL} keeps those of the {POOL} best of each target (docs/storage.md)"
        )
        log.warning(
            "the weights of %d trials may take up to %s, and %s are free%s",
            sum(waiting.values()),
            bytes_text(most),
            bytes_text(free),
            way_out,
        )


def where_bytes_are(paths: CompetitionPaths) -> str:
    """How many trials have weights, and what these take, for whoever has to free some space."""
    try:
        held = trials_with_weights(paths)
    except ValueError as error:
        return str(error)
    if not held:
        return "no trial there has weights"
    n_bytes = sum(one.n_bytes for one in held)
    return f"the weights of {len(held)} trials take {bytes_text(n_bytes)}, --keep N drops those that no good ensemble would use"


def _remaining(plan: Plan) -> dict[str, int]:
    """Per target how many trials are still to be trained."""
    started, statuses = plan.study.started(), plan.study.statuses()
    of = {suggestion.trial_id: suggestion.target for suggestion in plan.study.suggestions()}
    left = {}
    for name in plan.questions:
        begun = [trial for trial in started if of.get(trial) == name]
        wanted = len(plan.members[name]) if plan.members else plan.request.n_trials
        left[name] = max(0, wanted - len(begun)) + sum(statuses[trial] in WAITING for trial in begun)
    return left


def _sizes(plan: Plan, target: str) -> list[int]:
    """What both files of weights of this target's trials may take: of the trials that are known to come, else of some draws."""
    from trainables.config import TrialConfig, resolve
    from trainables.sizes import weights_bytes

    known = [TrialConfig.from_json(s.settings) for s in _unfinished(plan, target)] or plan.members.get(target, [])
    if known:
        return [sum(weights_bytes(config)) for config in known]
    drawn = [parameters for _, parameters in draws_of(plan.space.suggest, plan.space.first, BUDGET_DRAWS)]
    sizes = [sum(weights_bytes(resolve(parameters, plan.questions[target]))) for parameters in drawn]
    return sizes if plan.space.first else sorted(sizes)  # which one comes first is for the sampler to say: the smallest may


def _unfinished(plan: Plan, target: str) -> list[Any]:
    statuses = plan.study.statuses()
    return [s for s in plan.study.suggestions() if s.target == target and s.settings and statuses[s.trial_id] in WAITING]


def _most(keep: Keep, waiting: dict[str, tuple[int, int]]) -> int:
    """At most these bytes: per target so many trials of that size, as far as the quota lets them stay."""
    n_kept = keep.trials if keep.trials is not None else max(n for n, _ in waiting.values())
    whole = sum(min(n, n_kept) * size for n, size in waiting.values())
    return whole if keep.n_bytes is None else min(whole, keep.n_bytes)
