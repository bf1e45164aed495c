"""What a user asks of a search, checked as a whole before anything heavy is imported."""

from dataclasses import dataclass

from competitions.competition import Competition
from competitions.targets import choose_targets
from ledger.retention import EVERYTHING, parse_keep
from search_spaces import Space, load_space
from system.errors import UserError, unknown
from system.paths import check_name

SEARCHER_NAMES = ("tpe", "random")
SCHEDULER_NAMES = ("asha", "fifo")
TRACKER_NAMES = ("none", "wandb")
TRIALS = 8
BEST_ONCE_MORE = 1
"""So many trials of each target are trained on all data, or all folds."""
EVERY_FOLD = -2
"""The fold of a question that trials of any fold answer."""


@dataclass(frozen=True)
class Request:
    """One search.

    Attributes:
        trials: Distinct new trials per target; an id that is already in the ledger does not count. `None`: as the study was
            started with, else `TRIALS`.
        targets: Names, or `None` for all.
        seed: Seeds the suggestions and, unless the space says otherwise, the trials.
        fold: The validation fold.
        split: The name of one of the competition's splits; its default for `None`.
        hours: Stop after this time; `None` for no limit.
        gpus_per_trial: A share, or several; of a study that goes on 0 stands for as it was started.
        address: A running Ray, or `None` to start one here.
        study: The study's name; made from space and time where it is `None`.
        resume: Go on with the study of this name.
        init_from: A trial whose weights every trial of the search starts from, whatever the competition's file says.
        base: A finished trial to search around, or to train on all data or all folds; `None` for a search of the whole space.
        vary: The settings in which trials differ from the base, one at a time.
        all_data: Train `base`, or the `trials` best of each target, on all labelled photos.
        all_folds: Train `base`, or the `trials` best of each target on `fold`, on every other fold of the split.
        keep: Whose weights are kept, as `ledger.retention.parse_keep` reads it; `None`: as the study was started with, else all.
        warm_start: A new study whose sampler knows every trial of the ledger that answers its question.
        retry_failed: Of a study that goes on run only the trials that failed for good.
        accept_change: Go on with a study whose code, space, data or split are not as it began.
    """

    competition: str
    space: str = "quick"
    trials: int | None = None
    targets: tuple[str, ...] | None = None
    seed: int = 0
    fold: int = 0
    split: str | None = None
    hours: float | None = None
    gpus_per_trial: float = 0.0
    cpus_per_trial: int = 1
    address: str | None = None
    study: str | None = None
    resume: bool = False
    searcher: str = "tpe"
    scheduler: str = "asha"
    tracker: str = "none"
    loader_workers: int = 0
    init_from: str | None = None
    base: str | None = None
    vary: tuple[str, ...] = ()
    all_data: bool = False
    all_folds: bool = False
    keep: str | None = None
    warm_start: bool = False
    retry_failed: bool = False
    accept_change: bool = False

    @property
    def n_trials(self) -> int:
        default = BEST_ONCE_MORE if self.siblings else TRIALS
        return default if self.trials is None else self.trials

    @property
    def siblings(self) -> bool:
        """Whether finished trials are trained once more with their own settings: nothing is drawn, and nothing stopped early."""
        return self.all_data or self.all_folds

    @property
    def suggestion_seed(self) -> int:
        """Around a base every seed of the trials gets the same variations."""
        return 0 if self.base else self.seed


def check_request(request: Request, competition: Competition) -> Space:
    """The loaded space, when all of the request makes sense.

    Raises:
        UserError: With every fault.
    """
    faults: list[str] = []
    space = None
    try:
        space = _undrawn(request) if request.siblings else load_space(request.space)
    except UserError as error:
        faults += error.faults
    try:
        choose_targets(competition, request.targets)
    except UserError as error:
        faults += error.faults
    if request.study is not None:
        try:
            check_name("study", request.study)
        except UserError as error:
            faults += error.faults
    try:
        parse_keep(EVERYTHING if request.keep is None else request.keep)
    except UserError as error:
        faults += error.faults
    faults += _number_faults(request, competition) + _name_faults(request) + _base_faults(request)
    faults += _sibling_faults(request, competition)
    if faults or space is None:
        raise UserError(*faults)
    return space


def _undrawn(request: Request) -> Space:
    """Stands for the space where nothing is drawn: siblings are suggested as they were."""
    name = "all-data" if request.all_data else "all-folds"
    return Space(name, lambda trial: {}, max_epochs=1, grace_epochs=1, reduction=2, fingerprint="")


def _number_faults(request: Request, competition: Competition) -> list[str]:
    folds, split = competition.split.n_folds, competition.split.name
    rules = [
        (request.n_trials >= 1, f"trials must be 1 or more, got {request.trials}; give --trials N"),
        (0 <= request.seed < 2**32, f"seed must be 0..{2**32 - 1}, got {request.seed}; give --seed K"),
        (
            0 <= request.fold < folds,
            f"fold must be 0..{folds - 1}, got {request.fold}; split {split!r} has {folds} fold{'' if folds == 1 else 's'}",
        ),
        (
            request.hours is None or request.hours > 0,
            f"hours must be above 0, got {request.hours}; leave --hours out for no limit",
        ),
        (
            request.gpus_per_trial >= 0,
            f"gpus-per-trial must be 0 or more, got {request.gpus_per_trial}; 0.5 lets two trials share one",
        ),
        (request.cpus_per_trial >= 1, f"cpus-per-trial must be 1 or more, got {request.cpus_per_trial}"),
        (request.loader_workers >= 0, f"loader-workers must be 0 or more, got {request.loader_workers}"),
    ]
    return [sentence for holds, sentence in rules if not holds]


def _base_faults(request: Request) -> list[str]:
    rules = [
        (
            request.siblings or not request.base or request.vary,
            f"--base {request.base} needs --vary SETTING,SETTING (what to try around it), --all-data (train it on all photos) or "
            "--all-folds (train it on the other folds)",
        ),
        (not request.vary or request.base, "--vary needs --base TRIAL_ID, the trial whose settings are varied"),
        (
            not (request.warm_start and (request.base or request.siblings)),
            "--warm-start begins a search of a whole space; leave it out with --base, --all-data and --all-folds",
        ),
        (
            not (request.warm_start and request.searcher == "random" and request.scheduler == "fifo"),
            "--warm-start would have no effect with --searcher random and --scheduler fifo, which learn from no trial; leave one out",
        ),
    ]
    return [sentence for holds, sentence in rules if not holds]


def _sibling_faults(request: Request, competition: Competition) -> list[str]:
    flag, several = (
        "--all-data" if request.all_data else "--all-folds",
        [n for n, s in competition.all_splits.items() if s.n_folds > 1],
    )
    rules = [
        (not (request.all_data and request.all_folds), "--all-data holds no fold out and --all-folds each; give one of the two"),
        (not (request.siblings and request.vary), f"--vary changes settings and {flag} keeps them; give one of the two"),
        (
            not (request.siblings and request.base and request.trials is not None and not request.resume),
            f"{flag} trains either the trial of --base or the best --trials N of each target; leave one out",
        ),
        (
            not request.all_folds or competition.split.n_folds > 1,
            f"--all-folds needs a split of several folds, {competition.split.name!r} has 1, a holdout; "
            + (f"give --split {' or '.join(several)}" if several else "add one to `splits` in the YAML"),
        ),
    ]
    return [sentence for holds, sentence in rules if not holds]


def _name_faults(request: Request) -> list[str]:
    named = [
        ("searcher", request.searcher, SEARCHER_NAMES),
        ("scheduler", request.scheduler, SCHEDULER_NAMES),
        ("tracker", request.tracker, TRACKER_NAMES),
    ]
    return [unknown(kind, name, names) for kind, name, names in named if name not in names]
