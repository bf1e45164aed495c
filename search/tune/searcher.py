"""The searcher: one Optuna study per target, rebuilt from the ledger, handing out trials target by target.

Suggestion n of a target draws from a sampler seeded by (study seed, target, n) over the records told by then, and is written to the
study's folder before its trial starts. A configuration that is already in the ledger is answered from its record and not trained; one
that another study trains just now is watched (`search.foreign_trials`) while other suggestions are tried.

Earlier suggestions that answer another question than today's, as those before changed photos, stay on record and count for nothing.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from ledger.reading import readable_record
from ledger.studies import OPEN, StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from search.foreign_trials import ForeignTrials
from search.optuna_trials import Known, add_running, answers, fit, recorded, tell
from search.searchers import SEARCHERS
from search.tune.disk_stop import DISK_FULL, DiskStop
from search.warm_start import EarlierTrial
from system.claims import holder, works_here
from system.errors import listed
from trainables.config import Question, TrialConfig, resolve

log = logging.getLogger("podium.search")

MOST_REPEATS = 50
"""A target ends early after this many suggestions in a row that are already answered: its space is exhausted."""
ORPHAN_S = 15.0
"""Workers outlive a killed driver by seconds and hold their claims; for so long a resumed study waits for its own before it asks on."""


@dataclass
class _Target:
    """One target's part of the search.

    Attributes:
        n_asked: Suggestions so far, repeats included.
        new: Distinct new trials among them, those that wait included and those that are trained elsewhere not.
        waiting: Unfinished trials, and their numbers in the Optuna study where they have one; they go first.
    """

    question: Question
    study: optuna.Study
    n_asked: int = 0
    new: int = 0
    repeats: int = 0
    waiting: list[tuple[Suggestion, int | None]] = field(default_factory=list)


@dataclass(frozen=True)
class _Running:
    suggestion: Suggestion
    number: int


class LedgerSearcher(Searcher):  # type: ignore[misc]  # ray ships no types
    """Ray Tune's searcher contract: `suggest` is called by the driver's loop whenever there is room, until it says FINISHED."""

    def __init__(
        self,
        questions: Mapping[str, Question],
        *,
        suggest: Callable[[Any], dict[str, Any]],
        first: Sequence[Mapping[str, Any]] = (),
        n_trials: int,
        seed: int,
        searcher: str,
        study: StudyFolder,
        trials: Path,
        prepare: Callable[[Mapping[str, Any]], None],
        stop: DiskStop | None = None,
        earlier: Mapping[str, Sequence[EarlierTrial]] | None = None,
        refit: int = 0,
        known: Known | None = None,
        only: Collection[str] | None = None,
        one_at_a_time: bool = False,
        note: Callable[[str], None] = lambda text: None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """See the class.

        Args:
            questions: Target name -> what the study decides about its trials.
            suggest: The search space.
            first: Its parameters to try before the sampler draws.
            n_trials: Distinct new trials per target.
            seed: The study's seed.
            searcher: One of `SEARCHERS`.
            study: Where suggestions and events are written.
            trials: The ledger's trial folders.
            prepare: Called with the drawn settings before they are resolved; keeps weights files.
            stop: Told when there is no room for a suggestion.
            earlier: Target -> earlier trials of the ledger that the sampler knows from the start.
            refit: Suggestions up to this number were drawn from another space; of them is told what fits into `known`.
            known: `optuna_trials.distributions` of the space; needed with `refit`.
            only: Ids of trials to run; nothing else runs, and nothing new is asked.
            one_at_a_time: Ask only when nothing runs, so that each suggestion knows all trials before it. Tune would ask for one more.
            note: Told what is waited for.
            give_up: Whether waiting has no use any more: Tune hears neither Ctrl-C nor the clock while it waits for a suggestion.
        """
        super().__init__(metric="best_score", mode="max")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._targets = {
            name: _Target(question, optuna.create_study(direction="maximize")) for name, question in questions.items()
        }
        self._space, self._n_trials, self._seed, self._searcher = suggest, n_trials, seed, searcher
        self._folder, self._trials, self._prepare = study, trials, prepare
        self._first, self._refit, self._known, self._only = first, refit, known or {}, only
        self._one_at_a_time, self._note, self._give_up, self._stop = one_at_a_time, note, give_up, stop or DiskStop()
        self._seen: set[str] = set()
        self._running: dict[str, _Running] = {}
        self._foreign = ForeignTrials(trials)
        self._number = 0
        self._began = time.monotonic()
        for name, target in self._targets.items():
            target.study.add_trials([one.trial() for one in (earlier or {}).get(name, ())])
        self._recall()

    def suggest(self, trial_id: str) -> Any:
        """The next trial for Ray's `trial_id`; `None` to be asked again, `FINISHED` when all is done, or the disk is full."""
        with self._stop.guard():
            return self._suggest(trial_id)
        return Searcher.FINISHED

    def _suggest(self, trial_id: str) -> Any:
        if self._stop.stop_all():
            return Searcher.FINISHED
        if self._one_at_a_time and self._running:
            return None
        self._look_at_foreign()
        while (name := self._next_target()) is not None:
            if self._holds_an_orphan(name):
                return self._wait("a process that a killed driver left behind", [self._targets[name].waiting[0][0].trial_id])
            suggested = self._again(name) or self._ask(name)
            if suggested is not None:
                self._note("")
                suggestion, config, number = suggested
                self._running[trial_id] = _Running(suggestion, number)
                self._folder.log("started", suggestion.trial_id, target=name, suggestion=suggestion.number)
                return {"target": name, "trial_id": suggestion.trial_id, "epochs": config.epochs, "settings": config.json()}
        if self._foreign and not self._running:
            return self._wait("another study, which trains", self._foreign.ids())
        return None if self._running else Searcher.FINISHED  # one that runs may turn out to be trained elsewhere

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing to do: a trial is told once, when it ends."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna what came of a trial: complete, pruned (with its curve) or failed (which diverged trials are as well)."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        if result and DISK_FULL in result:
            return
        target = self._targets[running.suggestion.target]
        if result and result.get("elsewhere"):
            target.new -= 1
            self._foreign.add(running.suggestion, running.number)
            return
        tell(target.study, running.number, None if error else TrialFolder(self._trials / running.suggestion.trial_id).record())

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Not used: a searcher is rebuilt from the ledger."""
        raise NotImplementedError("resume with run_search.py --resume STUDY")

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to suggest and nothing runs."""
        return self._next_target() is None and not self._running and not self._foreign

    def remaining(self) -> int:
        """How many trials are still to be trained, those that wait for their second half included."""
        return sum(self._missing(target) + len(target.waiting) for target in self._targets.values())

    def _missing(self, target: _Target) -> int:
        """How many new trials are to be asked for."""
        return 0 if self._only is not None else max(0, self._n_trials - target.new)

    def _next_target(self) -> str | None:
        """The target that is furthest behind, in the competition's order between equals."""
        waiting = [name for name, target in self._targets.items() if target.waiting]
        if waiting:
            return waiting[0]
        behind = [
            (target.new, position, name)
            for position, (name, target) in enumerate(self._targets.items())
            if self._missing(target) and target.repeats < MOST_REPEATS
        ]
        return min(behind)[2] if behind else None

    def _wait(self, whom: str, trials: Sequence[str]) -> Any:
        """Nothing to do now: `None`, or `FINISHED` where waiting has no use any more and nothing runs."""
        self._note(f"waiting for {whom} {listed(trials, 3)}")
        return Searcher.FINISHED if self._give_up() and not self._running else None

    def _holds_an_orphan(self, name: str) -> bool:
        """Whether the next unfinished trial is still held by a living process of this machine, as after a driver that was killed."""
        waiting = self._targets[name].waiting
        if not waiting or time.monotonic() - self._began > ORPHAN_S:
            return False
        owner = holder(TrialFolder(self._trials / waiting[0][0].trial_id).claim)
        return owner is not None and works_here(owner)

    def _look_at_foreign(self) -> None:
        """Tell what others have ended, and take what they let go of."""
        for watched, state in self._foreign.look():
            suggestion, target = watched.suggestion, self._targets[watched.suggestion.target]
            record = readable_record(TrialFolder(self._trials / suggestion.trial_id))
            if state == "ended" and record is not None:
                self._folder.log("diverged" if record.diverged else "answered", suggestion.trial_id, score=record.score)
                tell(target.study, watched.number, record)
            else:
                target.new += 1
                target.waiting.append((suggestion, watched.number))

    def _again(self, name: str) -> tuple[Suggestion, TrialConfig, int] | None:
        """An unfinished trial."""
        target = self._targets[name]
        if not target.waiting:
            return None
        suggestion, number = target.waiting.pop(0)
        number = self._add(target.study, suggestion) if number is None else number
        return suggestion, TrialConfig.from_json(suggestion.settings), number

    def _ask(self, name: str) -> tuple[Suggestion, TrialConfig, int] | None:
        """A new suggestion; `None` when it was answered from the ledger."""
        target = self._targets[name]
        target.study.sampler = SEARCHERS[self._searcher](_seed_of(self._seed, name, target.n_asked))
        if target.n_asked < len(self._first):
            target.study.enqueue_trial(dict(self._first[target.n_asked]))
        target.n_asked += 1
        trial = target.study.ask()
        parameters = self._space(trial)
        self._prepare(parameters)
        config = resolve(parameters, target.question)
        suggestion = self._write(name, trial, parameters, config)
        if self._answered(target, trial, suggestion):
            target.repeats += 1
            if target.repeats >= MOST_REPEATS:
                log.warning("target %s: %d suggestions in a row were known; its space is exhausted", name, MOST_REPEATS)
            return None
        target.repeats = 0
        target.new += 1
        self._seen.add(config.trial_id)
        return suggestion, config, trial.number

    def _write(self, name: str, trial: optuna.Trial, parameters: dict[str, Any], config: TrialConfig) -> Suggestion:
        self._number += 1
        suggestion = Suggestion(
            number=self._number,
            target=name,
            trial_id=config.trial_id,
            parameters={key: value for key, value in parameters.items() if key != "weights_file"},  # its hash is in the settings
            settings=config.json(),
            distributions={key: distribution_to_json(value) for key, value in trial.distributions.items()},
            attributes={"params": trial.params},
        )
        self._folder.write_suggestion(suggestion)
        return suggestion

    def _answered(self, target: _Target, trial: optuna.Trial, suggestion: Suggestion) -> bool:
        folder = TrialFolder(self._trials / suggestion.trial_id)
        record = readable_record(folder)  # of any study, so nobody may have mended it yet
        if suggestion.trial_id in self._seen:
            target.study.tell(trial, state=TrialState.FAIL)
            return True
        if record is not None and record.ended:
            self._seen.add(suggestion.trial_id)
            self._folder.log("diverged" if record.diverged else "answered", suggestion.trial_id, score=record.score)
            tell(target.study, trial.number, record)
            return True
        owner = holder(folder.claim)
        if owner is not None and works_here(owner):
            self._seen.add(suggestion.trial_id)
            self._folder.log("elsewhere", suggestion.trial_id)
            self._foreign.add(suggestion, trial.number)
            return True
        return False

    def _recall(self) -> None:
        """Rebuild everything from the study's folder: what was told, what was stopped, and what has to go on."""
        statuses, started = self._folder.statuses(), self._folder.started()
        for suggestion in self._folder.suggestions():
            target = self._targets.get(suggestion.target)
            self._number = max(self._number, suggestion.number)
            if target is None or not answers(suggestion.settings, target.question):
                continue
            target.n_asked += 1
            first = suggestion.trial_id not in self._seen
            self._seen.add(suggestion.trial_id)
            record = TrialFolder(self._trials / suggestion.trial_id).record()
            known = record if suggestion.distributions else None  # what was drawn was lost: a score of nothing would mislead
            status = statuses[suggestion.trial_id]
            if not first:
                target.study.tell(self._add(target.study, suggestion), state=TrialState.FAIL)
            elif record is not None and record.ended and status in OPEN:
                target.new += suggestion.trial_id in started
                self._folder.log(_end(record, status), suggestion.trial_id, epoch=record.epochs_done, score=record.score)
                tell(target.study, self._add(target.study, suggestion), known)
            elif status in OPEN:
                self._go_on(target, suggestion, status)
            else:
                target.new += suggestion.trial_id in started
                tell(target.study, self._add(target.study, suggestion), None if status == "failed" else known)

    def _go_on(self, target: _Target, suggestion: Suggestion, status: str) -> None:
        """What has not ended waits to be trained, or is watched where somebody else trains it."""
        if self._only is not None and suggestion.trial_id not in self._only:
            self._add(target.study, suggestion)
        elif status == "elsewhere":
            self._foreign.add(suggestion, self._add(target.study, suggestion))
        else:
            target.new += 1
            target.waiting.append((suggestion, None))

    def _add(self, study: optuna.Study, suggestion: Suggestion) -> int:
        """Put a recorded suggestion back into an Optuna study, where it runs; returns its number there."""
        if suggestion.number <= self._refit:
            params, held = fit(recorded(suggestion, of_a_base=False), self._known)
        else:
            params, held = suggestion.attributes["params"], _distributions(suggestion)
        return add_running(study, params, held)


def _distributions(suggestion: Suggestion) -> dict[str, BaseDistribution]:
    return {key: json_to_distribution(value) for key, value in suggestion.distributions.items()}


def _end(record: Record, status: str) -> str:
    """What is said of a trial that ended without its study."""
    return "diverged" if record.diverged else "answered" if status == "elsewhere" else "finished"


def _seed_of(seed: int, target: str, n: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{target}/{n}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
