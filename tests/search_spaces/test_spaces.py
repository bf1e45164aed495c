"""Contract of every search space: what it draws resolves, and it holds to its own rungs."""

import optuna
import pytest

from ledger.errors import UserError
from search_spaces import known_spaces, load_space
from trainables.config import DEFAULTS, Question, resolve

QUESTION = Question("any", "age", {"age": 3}, "macro_f1", "0123456789abcdef", "groups", 0, 0, 64)


@pytest.mark.parametrize("name", known_spaces())
def test_every_draw_resolves(name: str) -> None:
    space = load_space(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for parameters in space.first:
        study.enqueue_trial(dict(parameters))
    ids = set()
    for _ in range(len(space.first) + 30):
        trial = study.ask()
        parameters = space.suggest(trial)
        config = resolve(parameters, QUESTION)
        assert set(parameters) <= set(DEFAULTS)
        assert config.epochs <= space.max_epochs
        ids.add(config.trial_id)
    assert 1 <= space.grace_epochs <= space.max_epochs
    assert space.reduction >= 2
    assert len(ids) > 20, "a space that draws the same again and again searches nothing"


@pytest.mark.parametrize("name", [n for n in known_spaces() if load_space(n).first])
def test_what_is_tried_first_is_tried_as_written(name: str) -> None:
    space = load_space(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for wanted in space.first:
        study.enqueue_trial(dict(wanted))
        trial = study.ask()
        space.suggest(trial)
        assert {key: trial.params.get(key, value) for key, value in wanted.items()} == dict(wanted)
        assert set(wanted) <= set(trial.params) | set(DEFAULTS), "a first guess names a parameter that the space does not draw"


def test_an_unknown_space_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown space 'quikc'; did you mean quick"):
        load_space("quikc")
