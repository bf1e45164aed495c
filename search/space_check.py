"""A space drawn from a few times, so that its mistakes show before the first trial. Imports no ray: Ray reads its token at import."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from competitions.prepare import Prepared
from search_spaces import Space
from system.errors import UserError
from system.paths import expanded
from trainables.config import Question, TrialConfig, resolve
from trainables.start.published import WEIGHT_PACKAGES, package_file

SPACE_DRAWS = 200
"""So that a combination that one in fifty draws has is missed in one check of 57; a draw costs about a millisecond."""


def check_space(space: Space, questions: Mapping[str, Question], prepare: "StartWeights") -> None:
    """Resolve what the space tries first and some random draws, try their sizes, and get hold of the start weights they name.

    Raises:
        UserError: With every distinct fault.
    """
    faults: dict[str, None] = {}
    for _, parameters in drawn(space.suggest, space.first):
        for question in questions.values():
            try:
                prepare.check(resolve(parameters, question), parameters)
            except UserError as error:
                faults |= dict.fromkeys(error.faults)
    if faults:
        raise UserError(*faults)


class StartWeights:
    """Keeps local weights files in the storage, and makes sure once per network that it takes its photos and its start weights."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._tried: set[tuple[str, str, int, int | None, bool, bool]] = set()

    def __call__(self, parameters: Mapping[str, Any]) -> None:
        """Copy the weights file that a draw names, or the one in the package that it means, into the storage.

        Raises:
            UserError: There is no such file.
        """
        from trainables.attach import weights_store
        from trainables.backbones import keep_weights

        file = parameters.get("weights_file")
        if parameters.get("pretrained") and parameters.get("backbone") in WEIGHT_PACKAGES:
            file = package_file(WEIGHT_PACKAGES[parameters["backbone"]])
        if file:
            keep_weights(str(file), weights_store(self._prepared))

    def check(self, config: TrialConfig, parameters: Mapping[str, Any]) -> None:
        """Try the input size and the start weights of a resolved draw; each network once.

        Raises:
            UserError: The network does not take the size, or the weights cannot be had or do not fit it.
        """
        key = (
            config.backbone,
            config.weights,
            config.image_size,
            config.stem_stride,
            config.drop_path > 0,
            config.needs_features,
        )
        if key in self._tried:
            return
        self._tried.add(key)
        from trainables.attach import weights_store
        from trainables.backbones import build, check_published, keep_weights
        from trainables.probes.features import frozen
        from trainables.sizes import check_size

        check_size(
            config.backbone, config.image_size, stem_stride=config.stem_stride, published=config.weights.startswith("timm:")
        )
        if not config.weights:
            return
        store = weights_store(self._prepared)
        _refuse_a_trial_s_best(parameters, store)
        with tempfile.TemporaryDirectory() as beside:  # what is only tried leaves nothing in the storage
            if config.weights.startswith("timm:"):
                check_published(config.backbone)
            else:
                if parameters.get("weights_file"):
                    store = Path(beside)
                    keep_weights(str(parameters["weights_file"]), store)
                build(config.backbone, config.heads, config.image_size, weights=config.weights, store=store)
            if config.needs_features:
                frozen(config.backbone, config.weights, config.image_size, store, "cpu")


def _refuse_a_trial_s_best(parameters: Mapping[str, Any], store: Path) -> None:
    """Refuse a trial's weights given as a file of anybody's: nobody would know which photos they have learned.

    Raises:
        UserError: They are a trial's, and not those that a base had and that were kept for it.
    """
    from trainables.start.initial_weights import is_trial_start

    file = expanded(parameters.get("weights_file") or "")
    if file.is_file() and file.parent != store and is_trial_start(file):
        raise UserError(
            f"weights_file {file.name!r} is the best of a trial; start from it by --init-from TRIAL_ID, which makes sure that the "
            "trial has not learned the photos that others are judged on"
        )


def drawn(
    suggest: Callable[[Any], dict[str, Any]], first: Sequence[Mapping[str, Any]], n: int = SPACE_DRAWS
) -> Iterator[tuple[optuna.Trial, dict[str, Any]]]:
    """What the space tries first and `n` random draws: Optuna's trial and the settings; the same whenever asked."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for parameters in first:
        study.enqueue_trial(dict(parameters))
    for _ in range(len(first) + n):
        trial = study.ask()
        yield trial, suggest(trial)
