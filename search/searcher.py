"""The searcher: one Optuna study per target, rebuilt from the ledger, handing out trials target by target.

Suggestion n of a target draws from a sampler seeded by (study seed, target, n) over the records told by then, and is written to the
study's folder before its trial starts. A configuration that is already in the ledger is answered from its record and not trained.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from ledger.claims import holder, works_here
from ledger.mending import readable_record
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from trainables.config import Question, TrialConfig, resolve

log = logging.getLogger("podium.search")

MOST_REPEATS = 50
"""A target ends early after this many suggestions in a row that are already answered: its space is exhausted."""

SEARCHERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=6),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


@dataclass
class _Target:
    """One target's part of the search.

    Attributes:
        asked: Suggestions so far, repeats included.
        new: Distinct new trials among them.
        waiting: Unfinished trials of an interrupted run; they go first.
    """

    question: Question
    study: optuna.Study
    asked: int = 0
    new: int = 0
    repeats: int = 0
    waiting: list[Suggestion] = field(default_factory=list)


@dataclass(frozen=True)
class _Running:
    target: str
    number: int
    trial_id: str
    optuna_number: int


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
        """
        super().__init__(metric="best_score", mode="max")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._targets = {
            name: _Target(question, optuna.create_study(direction="maximize")) for name, question in questions.items()
        }
        self._space, self._n_trials, self._seed, self._searcher = suggest, n_trials, seed, searcher
        self._folder, self._trials, self._prepare = study, trials, prepare
        self._first = first
        self._seen: set[str] = set()
        self._running: dict[str, _Running] = {}
        self._number = 0
        self._recall()

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration for Ray's trial `trial_id`; `FINISHED` when every target has its trials."""
        while (name := self._next_target()) is not None:
            asked = self._again(name) or self._ask(name)
            if asked is not None:
                suggestion, config, number = asked
                self._running[trial_id] = _Running(name, suggestion.number, suggestion.trial_id, number)
                self._folder.log("started", suggestion.trial_id, target=name, suggestion=suggestion.number)
                return {"target": name, "trial_id": suggestion.trial_id, "epochs": config.epochs, "settings": config.json()}
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing to do: a trial is told once, when it ends."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna what came of a trial: complete, pruned (with its curve) or failed (which diverged trials are as well)."""
        running = self._running.pop(trial_id, None)
        if running is None:
            return
        target = self._targets[running.target]
        record = TrialFolder(self._trials / running.trial_id).record()
        if result and result.get("elsewhere"):
            target.new -= 1
        state = TrialState.FAIL if error or record is None else _state(record)
        value = record.score if record is not None and state == TrialState.COMPLETE else None
        if record is not None and state == TrialState.PRUNED:
            self._report(target.study, running.optuna_number, record.curve)
        target.study.tell(running.optuna_number, value, state=state)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Not used: a searcher is rebuilt from the ledger."""
        raise NotImplementedError("resume with run_search.py --resume STUDY")

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to suggest and nothing runs."""
        return self._next_target() is None and not self._running

    def remaining(self) -> int:
        """How many trials are still to be trained, those that wait for their second half included."""
        return sum(max(0, self._n_trials - target.new) + len(target.waiting) for target in self._targets.values())

    def _next_target(self) -> str | None:
        """The target that is furthest behind, in the competition's order between equals."""
        waiting = [name for name, target in self._targets.items() if target.waiting]
        if waiting:
            return waiting[0]
        behind = [
            (target.new, position, name)
            for position, (name, target) in enumerate(self._targets.items())
            if target.new < self._n_trials and target.repeats < MOST_REPEATS
        ]
        return min(behind)[2] if behind else None

    def _again(self, name: str) -> tuple[Suggestion, TrialConfig, int] | None:
        """An unfinished trial of the interrupted run."""
        target = self._targets[name]
        if not target.waiting:
            return None
        suggestion = target.waiting.pop(0)
        number = _add(target.study, suggestion, TrialState.RUNNING)
        return suggestion, TrialConfig.from_json(suggestion.settings), number

    def _ask(self, name: str) -> tuple[Suggestion, TrialConfig, int] | None:
        """A new suggestion; `None` when it was answered from the ledger."""
        target = self._targets[name]
        target.study.sampler = SEARCHERS[self._searcher](_seed_of(self._seed, name, target.asked))
        if target.asked < len(self._first):
            target.study.enqueue_trial(dict(self._first[target.asked]))
        target.asked += 1
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
            state = _state(record)
            target.study.tell(trial, record.score if state == TrialState.COMPLETE else None, state=state)
            return True
        owner = holder(folder.claim)
        if owner is not None and works_here(owner):
            self._folder.log("elsewhere", suggestion.trial_id)
            target.study.tell(trial, state=TrialState.FAIL)
            return True
        return False

    def _recall(self) -> None:
        """Rebuild everything from the study's folder: what was told, what was stopped, and what has to go on."""
        statuses, started = self._folder.statuses(), self._folder.started()
        for suggestion in self._folder.suggestions():
            target = self._targets.get(suggestion.target)
            self._number = max(self._number, suggestion.number)
            if target is None:
                continue
            target.asked += 1
            first = suggestion.trial_id not in self._seen
            self._seen.add(suggestion.trial_id)
            record = TrialFolder(self._trials / suggestion.trial_id).record()
            status = statuses[suggestion.trial_id]
            if not first:
                _add(target.study, suggestion, TrialState.FAIL)
                continue
            waits = status == "running" and not (record is not None and record.ended)
            target.new += waits or suggestion.trial_id in started
            if waits:
                target.waiting.append(suggestion)
            else:
                self._tell_again(target, suggestion, record, status)

    def _tell_again(self, target: _Target, suggestion: Suggestion, record: Record | None, status: str) -> None:
        known = bool(suggestion.distributions)  # a healed suggestion has lost what was drawn: a score of nothing would mislead
        state = TrialState.FAIL if record is None or status == "failed" or not known else _state(record)
        number = _add(target.study, suggestion, TrialState.RUNNING)
        if record is not None and state == TrialState.PRUNED:
            self._report(target.study, number, record.curve)
        target.study.tell(number, record.score if record is not None and state == TrialState.COMPLETE else None, state=state)
        if status == "running" and record is not None:
            event = "diverged" if record.diverged else "finished"
            self._folder.log(event, suggestion.trial_id, epoch=record.epochs_done, score=record.score)

    @staticmethod
    def _report(study: optuna.Study, number: int, curve: list[float]) -> None:
        trial = optuna.Trial(study, study.trials[number]._trial_id)
        best = float("-inf")
        for epoch, score in enumerate(curve, start=1):
            best = max(best, score)
            trial.report(best, epoch)


def _state(record: Record) -> TrialState:
    if record.diverged or record.score is None:
        return TrialState.FAIL
    return TrialState.COMPLETE if record.finished else TrialState.PRUNED


def _seed_of(seed: int, target: str, n: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{target}/{n}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def _add(study: optuna.Study, suggestion: Suggestion, state: TrialState) -> int:
    """Put a recorded suggestion back into an Optuna study; returns its number there."""
    distributions = {key: json_to_distribution(value) for key, value in suggestion.distributions.items()}
    study.add_trial(optuna.trial.create_trial(state=state, params=suggestion.attributes["params"], distributions=distributions))
    return len(study.trials) - 1
