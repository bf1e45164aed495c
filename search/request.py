"""What a user asks of a search. Every field of `Request` is a flag of run_search.py, and its one line says all that is known of it.

The verb's parser, what a plan remembers, what may be said with `--resume` and the command that goes on are read from these lines.
Nothing heavy is imported, so that `--help` answers at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from search.searchers import SEARCHERS
from search.trackers import TRACKERS
from search.tune.stopping import SCHEDULERS
from system.errors import UserError

TRIALS = 8
BEST_ONCE_MORE = 1
"""So many trials of each target are trained on all data, or all folds."""
EVERY_FOLD = -2
"""The fold of a question that trials of any fold answer."""
NO_TRACKER = "none"
When = Literal["start", "anew", "run", "call"]
"""When a flag may be said: of a new study only; anew of one that goes on, which then remembers it; of this run, which a study does not
remember; of this call, of which no study knows."""


@dataclass(frozen=True)
class Flag:
    """One flag of run_search.py.

    Attributes:
        name: The field of `Request`.
        option: As it is typed.
        kind: Of the value: `int`, `float`, `str`, `tuple` for names with commas between them; `bool` for a switch.
        fixed: Whether trials of `--all-data` and `--all-folds` have it from the trial that they repeat, so that it may not be said.
        recorded: Whether a plan says how it was.
    """

    name: str
    option: str
    kind: type
    default: Any
    text: str
    when: When = "start"
    metavar: str | None = None
    fixed: bool = False
    recorded: bool = True

    def parser_arguments(self) -> dict[str, Any]:
        """For `add_argument`; what is not said is `None`."""
        shared = {"dest": self.name, "default": None, "help": self.text}
        if self.kind is bool:
            return {**shared, "action": "store_true"}
        return {**shared, "type": _names if self.kind is tuple else self.kind, "metavar": self.metavar}

    def words(self, value: Any) -> list[str]:
        """As it is typed with this value."""
        return [self.option] if self.kind is bool else [self.option, str(value)]


def flag(default: Any, text: str, **facts: Any) -> Any:
    """A field of `Request`: its default, its help, and else what `Flag` says."""
    return field(default=default, metadata={"text": text, **facts})


@dataclass(frozen=True)
class Request:
    """One search.

    Attributes:
        trials: Distinct new trials per target; an id that is already in the ledger does not count. `None`: as the study was
            started with, else `TRIALS`.
        targets: Names, or `None` for one per task.
        seed: Seeds the suggestions and, unless the space says otherwise, the trials.
        gpus_per_trial: A share, or several; of a study that goes on 0 stands for as it was started.
        address: A running Ray, or `None` to start one here.
        study: The study's name; made from space and time where it is `None`.
        resume: Go on with the study of this name.
        init_from: A trial whose weights every trial of the search starts from, whatever the competition's file says.
        keep: Whose weights are kept, as `ledger.retention.parse_keep` reads it; `None`: as the study was started with, else all.
        base: A finished trial to search around, or to train on all data or all folds; `None` for a search of the whole space.
    """

    competition: str
    space: str = flag("auto", "name of a file in search_spaces/, without .py (default: auto)", fixed=True)
    trials: int | None = flag(
        None, f"distinct new trials per target (default: {TRIALS}, or as the study was started)", when="anew", metavar="N"
    )
    targets: tuple[str, ...] | None = flag(None, "these targets; all: every one (default: one per task)", metavar="A,B")
    seed: int = flag(0, "seeds suggestions and trials (default: 0)", metavar="K", fixed=True)
    fold: int = flag(0, "the validation fold (default: 0)")
    split: str | None = flag(None, "one of the competition's splits (default: its `split`)", metavar="NAME")
    hours: float | None = flag(
        None, "end after this time, with the best so far exported to ensembles/latest", when="run", metavar="H"
    )
    no_export: bool = flag(False, "with --hours: trials alone, no ensembles/latest", when="run", recorded=False)
    gpus_per_trial: float = flag(0.0, "0.5: two trials share a GPU (default: 0)", when="anew", metavar="G")
    cpus_per_trial: int = flag(1, "compute threads of a trial (default: 1)", metavar="C", fixed=True)
    loader_workers: int = flag(0, "threads that prepare batches (default: 0)", when="run", metavar="W")
    address: str | None = flag(
        None, "a running Ray, e.g. auto or HOST:6379 (default: start one here)", when="run", metavar="A", recorded=False
    )
    searcher: str = flag("tpe", f"{' or '.join(SEARCHERS)} (default: tpe)", fixed=True)
    scheduler: str = flag("asha", f"{' or '.join(SCHEDULERS)} (default: asha)", fixed=True)
    tracker: str = flag(
        NO_TRACKER,
        f"mirror ended trials: {' or '.join([NO_TRACKER, *TRACKERS])} (default: {NO_TRACKER})",
        when="run",
        metavar="T",
        option="--track",
    )
    study: str | None = flag(None, "name of the new study (default: space and time)", metavar="NAME")
    resume: bool = flag(False, "go on with this study", when="call", metavar="STUDY", recorded=False)
    retry_failed: bool = flag(False, "with --resume: only the trials that failed for good", when="run", recorded=False)
    accept_change: bool = flag(False, "with --resume: go on with changed code, space, data or split", when="anew", recorded=False)
    warm_start: bool = flag(False, "the sampler knows every earlier trial that answers the question")
    init_from: str | None = flag(
        None, "every trial starts from this trial's weights and backbone", metavar="TRIAL_ID", fixed=True
    )
    keep: str | None = flag(
        None,
        "weights to keep: of the N best trials per target, or 20GB of the best (default: all)",
        when="anew",
        metavar="N|SIZE",
    )
    dry_run: bool = flag(False, "check everything, train nothing", when="call", recorded=False)
    base: str | None = flag(None, "search around this finished trial, with --vary", metavar="TRIAL_ID")
    vary: tuple[str, ...] = flag((), "settings to change one at a time, as the space draws them", metavar="A,B")
    all_data: bool = flag(False, "train --base, or the best --trials N (1), on all photos: no score")
    all_folds: bool = flag(False, "train --base, or the best --trials N (1), on every other fold")

    @property
    def n_trials(self) -> int:
        default = BEST_ONCE_MORE if self.is_refit else TRIALS
        return default if self.trials is None else self.trials

    @property
    def is_refit(self) -> bool:
        """Whether finished trials are trained once more with their own settings: nothing is drawn, and nothing stopped early."""
        return self.all_data or self.all_folds

    @property
    def suggestion_seed(self) -> int:
        """Around a base every seed of the trials gets the same variations."""
        return 0 if self.base else self.seed


def _flags() -> tuple[Flag, ...]:
    flags = []
    for one in fields(Request)[1:]:
        facts, kind = dict(one.metadata), _kind(one.type)
        kind = str if kind is bool and "metavar" in facts else kind  # --resume STUDY
        made: dict[str, Any] = {"option": "--" + one.name.replace("_", "-"), "kind": kind, "default": one.default}
        flags.append(Flag(name=one.name, **{**made, **facts}))
    return tuple(flags)


def _kind(declared: Any) -> type:
    """The type of a field that may be `None` as well; `tuple` for any tuple."""
    kind = next((part for part in get_args(declared) if part is not NoneType and part is not ...), declared)
    kind = declared if get_origin(declared) is tuple else kind
    return tuple if get_origin(kind) is tuple else kind


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


FLAGS = _flags()
"""In the order in which `--help` lists them."""


def check_flags(given: Mapping[str, Any]) -> None:
    """A study goes on as it was started, and a refit has its trial's settings: flags that say otherwise are refused.

    Args:
        given: Field of `Request` -> its value, for each flag that was typed; `resume` is the name of the study.

    Raises:
        UserError: With every fault.
    """
    start = [one for one in FLAGS if one.when == "start" and one.name in given]
    stays = [one for one in FLAGS if one in start or (one.name == "gpus_per_trial" and not given.get(one.name, 1) > 0)]
    refit = next((one.option for one in FLAGS if one.name in ("all_data", "all_folds") and one.name in given), None)
    fixed = [one for one in start if one.fixed or (one.name == "fold" and "base" in given)]
    faults = []
    if "resume" in given and stays:  # more or fewer GPUs may be said anew, not none
        faults.append(
            f"{_options(stays)} cannot be changed with --resume: the study goes on as it was started; leave it out, or start a new study"
        )
    if "retry_failed" in given and ("resume" not in given or "trials" in given):
        faults.append(
            "--retry-failed runs the failed trials of a study and nothing new; give it with --resume STUDY and without --trials"
        )
    if "accept_change" in given and "resume" not in given:
        faults.append("--accept-change goes on with a study that stopped at a change; give it with --resume STUDY")
    if "no_export" in given and "hours" not in given:
        faults.append("--no-export would have no effect without --hours, which alone exports by itself; leave it out")
    if refit and fixed:
        faults.append(
            f"{_options(fixed)} would have no effect with {refit}: what is trained has its trial's own settings; leave it out"
        )
    if "base" in given and "init_from" in given and not refit:
        faults.append("--init-from would have no effect with --base: variations start as the base did; leave it out")
    if faults:
        raise UserError(*faults)


def _options(given: list[Flag]) -> str:
    return ", ".join(one.option for one in given)
