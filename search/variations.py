"""The best becomes the baseline: a finished trial's configuration -> the parameters it came from, and variations in one setting.

Whoever goes on from a trial shares its fold and seed with every variation of it, so each new trial makes a pair with the base.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import optuna

from competitions.loading import load_competition
from competitions.prepare import Prepared
from competitions.targets import targets
from ledger.reading import readable_config, readable_record
from ledger.trials import ALL_DATA, TrialFolder, is_trial, trial_folders
from search_spaces import Space
from system.errors import UserError, unknown
from system.paths import CompetitionPaths, competition_paths
from trainables.attach import weights_store
from trainables.backbones import kept_weights
from trainables.config import DEFAULTS, OF_A_PROBE, Question, TrialConfig, only_with, resolve
from trainables.start.initial_weights import is_trial_start
from trainables.start.published import WEIGHT_PACKAGES

BELONGS = {
    **{name: owner for name, (owner, _) in only_with().items()},
    "lr": "optimizer",  # a rate that suits AdamW says nothing about SGD
    "micro_batch": "batch_size",
    "warmup_epochs": "epochs",
    "weights": "backbone",
    "layout": "backbone",
    "stem_stride": "backbone",
    "drop_path": "backbone",
    "pretrained": "backbone",
    "weights_file": "backbone",
}
"""Setting -> the one it goes with: changing both is one change, that of the owner."""
START = ("pretrained", "weights_file")
TRAINED = DEFAULTS["probe"]
FROM_SCRATCH = "quick"
"""The space that draws variations of a base without start weights, where none is named."""
VARIATION_DRAWS = 60
Parameters = dict[str, Any]


def base_config(paths: CompetitionPaths, trial_id: str) -> TrialConfig:
    """The configuration of a finished trial with a score.

    Raises:
        UserError: There is none of this name, it is not finished, it learned from all photos and has no score, or it is a soup.
    """
    folder, name = TrialFolder(paths.trials / trial_id), paths.root.name
    if not is_trial(paths.trials, trial_id):
        known = [one.id for one in trial_folders(paths.trials)]
        raise UserError(f"{unknown('trial', trial_id, known)}; show_trials.py {name} lists them")
    settings, record = readable_config(folder), readable_record(folder)
    if settings is None:
        raise UserError(f"trial {trial_id} cannot be read; go on with its study to heal it, or give another")
    config = TrialConfig.from_json(settings)
    if config.soup:
        raise UserError(
            f"trial {trial_id} is the mean of the weights of {', '.join(config.soup)} and was not trained, so no search goes on from it "
            "and none trains it on all data; give one of these"
        )
    if config.fold == ALL_DATA:
        raise UserError(f"trial {trial_id} learned from all photos and has no score to compare with; give one of a fold")
    if record is None or not record.finished:
        done = 0 if record is None else record.epochs_done
        state = "diverged" if record is not None and record.diverged else f"has {done} of {config.epochs} epochs"
        raise UserError(
            f"--base must be a finished trial, {trial_id} {state}; go on with its study (run_search.py {name} --resume STUDY), or "
            f"choose another (show_trials.py {name})"
        )
    return config


def request_around(competition: str, storage: str | Path | None, trial_id: str) -> dict[str, Any]:
    """What a search around this trial takes from it unless it is told otherwise; nothing where the trial cannot be a base.

    Raises:
        UserError: The competition is unknown.
    """
    try:
        config = base_config(competition_paths(load_competition(competition).name, storage), trial_id)
    except UserError:
        return {}  # told with all other faults when the request is checked
    taken = {
        "fold": config.fold,
        "seed": config.seed,
        "cpus_per_trial": config.threads,
        "targets": (config.target,),
        "split": config.split,
    }
    scratch = {} if config.weights else {"space": FROM_SCRATCH}  # what the usual space draws goes with published weights
    return taken | scratch | {"searcher": "random", "scheduler": "fifo"}


def check_base(config: TrialConfig, prepared: Prepared) -> None:
    """Refuse a base whose score is one on other photos.

    Raises:
        UserError: The data or the split have changed since.
    """
    known = targets(prepared.competition).get(config.target)
    if known is None or known.heads != config.heads:
        heads = "no such target" if known is None else f"heads {', '.join(known.heads)}"
        raise UserError(
            f"trial {config.trial_id} was trained for target {config.target} with heads {', '.join(config.heads)}, and "
            f"{prepared.competition.name} has {heads} today; put the target back, or take another trial as the base"
        )
    if prepared.data_fingerprint(known) != config.data:
        name = prepared.competition.name
        raise UserError(
            f"trial {config.trial_id} learned from other photos, labels or folds than {name} has today, so scores do not compare; "
            f"put them back, or take a trial of today's data as the base (run_search.py {name} trains some)"
        )


def parameters_of(config: TrialConfig, store: Path) -> Parameters:
    """The parameters, by names of `DEFAULTS`, that resolve to this configuration.

    Args:
        config: Of a trial.
        store: Where start weights are kept by their hash.

    Raises:
        UserError: The file of its start weights is not there.
    """
    parameters = {name: value for name, value in config.json().items() if name in DEFAULTS and value is not None}
    if config.is_probe:
        parameters = {name: value for name, value in parameters.items() if name not in OF_A_PROBE}
    elif config.micro_batch == config.batch_size:
        del parameters["micro_batch"]  # it goes along where the batch changes
    package = WEIGHT_PACKAGES.get(config.backbone)
    packaged = package is not None and package.sha256 == config.weights
    parameters["pretrained"] = packaged or config.weights.startswith("timm:")
    if config.weights and not parameters["pretrained"]:
        parameters["weights_file"] = str(kept_weights(store, config.weights))
    return parameters


def around(space: Space, base: TrialConfig, vary: Sequence[str], question: Question, prepared: Prepared) -> Space:
    """A space whose suggestion 0 is the base, and each further one changes one of the settings `vary`, in turn.

    The changed setting, and those that belong to it, are drawn from `space`; all the rest is the base's. What suggestion n is
    depends on neither fold nor seed, so that the same variations are made under another seed.

    Raises:
        UserError: The base cannot be trained as it was, or a name of `vary` is no setting or never drawn another way; all at once.
    """
    store = weights_store(prepared)
    parameters = parameters_of(base, store)
    file = parameters.get("weights_file")
    if file is not None and question.fold != base.fold and is_trial_start(Path(file)):
        raise UserError(
            f"trial {base.trial_id} started from a trial that learned photos of fold {question.fold}, so nothing that starts as it "
            f"did can be judged there; leave --fold out"
        )
    question_then = replace(question, fold=base.fold, seed=base.seed, threads=base.threads)
    again = resolve(parameters, question_then)
    if again.trial_id != base.trial_id:
        now, then = again.json(), base.json()
        other = ", ".join(f"{key} {then.get(key)!r} then, {now[key]!r} now" for key in now if now[key] != then.get(key))
        raise UserError(f"trial {base.trial_id} cannot be trained today as it was ({other}); choose another base")
    _check_vary(space, parameters, vary)

    def suggest(trial: Any) -> Parameters:
        if trial.number == 0:
            return dict(parameters)
        name = vary[(trial.number - 1) % len(vary)]
        more = _draws(space.suggest, seed=trial.number)  # a turn that draws the base's own value would be lost
        tries = (changed(parameters, name, drawn) for drawn in chain([space.suggest(trial)], more))
        return next((new for new in tries if new != parameters), dict(parameters))

    return replace(space, suggest=suggest, first=(), max_epochs=max(space.max_epochs, base.epochs))


def changed(base: Mapping[str, Any], name: str, drawn: Mapping[str, Any]) -> Parameters:
    """The base's parameters with setting `name`, and what belongs to it, as they were drawn.

    A setting that was drawn for another owner (a learning rate for another optimizer) leaves the base as it is.
    """
    owner = BELONGS.get(name)
    if (base.get("probe", TRAINED) == TRAINED) != (drawn.get("probe", TRAINED) == TRAINED):
        return dict(base)  # what is trained and what is fitted differ in more than one setting
    if name not in drawn or (owner and name not in START and drawn.get(owner, DEFAULTS[owner]) != base.get(owner)):
        return dict(base)
    new = {**base, name: drawn[name]}
    other_value = drawn[name] != base.get(name)
    for setting in (setting for setting, owner in BELONGS.items() if owner == name and setting in DEFAULTS):
        if setting in only_with() and other_value:
            new.pop(setting, None)
        if setting in drawn and (other_value or setting in only_with()):
            new[setting] = drawn[setting]
    if name in START or (name == "backbone" and other_value):
        new = _one_start(new, drawn)
    return new


def setting_changed(differing: Sequence[str]) -> str | None:
    """The one setting that explains all that differ; `None` where it takes more than one.

    >>> setting_changed(["loss", "focal_gamma"]), setting_changed(["lr"]), setting_changed(["lr", "loss"])
    ('loss', 'lr', None)
    """
    owners = [name for name in differing if all(other == name or BELONGS.get(other) == name for other in differing)]
    return owners[0] if owners else None


def _one_start(new: Parameters, drawn: Mapping[str, Any]) -> Parameters:
    """Start weights come one way: as drawn, else published ones where the base had them; a file fits its own backbone only."""
    start = {key: drawn.get(key, DEFAULTS[key]) for key in START} if any(key in drawn for key in START) else {}
    start = start or {"pretrained": new["pretrained"], "weights_file": None}
    return {**new, **start}


def _check_vary(space: Space, base: Mapping[str, Any], vary: Sequence[str]) -> None:
    faults = [unknown("setting", name, DEFAULTS) for name in vary if name not in DEFAULTS]
    faults += [
        f"--vary must name different settings, {name!r} stands twice" for name in sorted(set(vary)) if vary.count(name) > 1
    ]
    could = _variable(space.suggest, base)
    hint = f"it varies {', '.join(could)}" if could else "it varies nothing of this base"
    faults += [
        f"space {space.name!r} never draws another {name} than the base has ({name}={base.get(name)!r}); {hint}; give one of these, "
        "or a --space that draws it"
        for name in dict.fromkeys(vary)
        if name in DEFAULTS and name not in could
    ]
    if faults:
        raise UserError(*faults)


def _draws(suggest: Callable[[Any], Parameters], *, seed: int) -> Iterator[Parameters]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return (suggest(study.ask()) for _ in range(VARIATION_DRAWS))


def _variable(suggest: Callable[[Any], Parameters], base: Mapping[str, Any]) -> list[str]:
    """The settings that some of a number of random draws change."""
    draws = list(_draws(suggest, seed=0))
    return [name for name in DEFAULTS if any(changed(base, name, drawn) != dict(base) for drawn in draws)]
