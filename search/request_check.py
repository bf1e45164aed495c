"""A request checked as a whole, so that a user learns of every fault before anything heavy is done."""

from competitions.competition import Competition
from competitions.targets import choose_targets
from ledger.retention import EVERYTHING, parse_keep
from search.request import NO_TRACKER, Request
from search.searchers import SEARCHERS
from search.trackers import TRACKERS
from search.tune.stopping import SCHEDULERS
from search_spaces import Space, load_space
from system.errors import UserError, unknown
from system.paths import check_name


def check_request(request: Request, competition: Competition) -> Space:
    """The loaded space, when all of the request makes sense.

    Raises:
        UserError: With every fault.
    """
    faults: list[str] = []
    space = None
    try:
        space = _undrawn(request) if request.is_refit else load_space(request.space)
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
    faults += _refit_faults(request, competition)
    if faults or space is None:
        raise UserError(*faults)
    return space


def _undrawn(request: Request) -> Space:
    """Stands for the space where nothing is drawn: what is trained once more is suggested as it was."""
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
            request.is_refit or not request.base or request.vary,
            f"--base {request.base} needs --vary SETTING,SETTING (what to try around it), --all-data (train it on all photos) or "
            "--all-folds (train it on the other folds)",
        ),
        (not request.vary or request.base, "--vary needs --base TRIAL_ID, the trial whose settings are varied"),
        (
            not (request.warm_start and (request.base or request.is_refit)),
            "--warm-start begins a search of a whole space; leave it out with --base, --all-data and --all-folds",
        ),
        (
            not (request.warm_start and request.searcher == "random" and request.scheduler == "fifo"),
            "--warm-start would have no effect with --searcher random and --scheduler fifo, which learn from no trial; leave one out",
        ),
    ]
    return [sentence for holds, sentence in rules if not holds]


def _refit_faults(request: Request, competition: Competition) -> list[str]:
    flag, several = (
        "--all-data" if request.all_data else "--all-folds",
        [n for n, s in competition.all_splits.items() if s.n_folds > 1],
    )
    rules = [
        (not (request.all_data and request.all_folds), "--all-data holds no fold out and --all-folds each; give one of the two"),
        (not (request.is_refit and request.vary), f"--vary changes settings and {flag} keeps them; give one of the two"),
        (
            not (request.is_refit and request.base and request.trials is not None and not request.resume),
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
        ("searcher", request.searcher, [*SEARCHERS]),
        ("scheduler", request.scheduler, [*SCHEDULERS]),
        ("tracker", request.tracker, [NO_TRACKER, *TRACKERS]),
    ]
    return [unknown(kind, name, names) for kind, name, names in named if name not in names]
