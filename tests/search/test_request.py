"""The names a request may use are those of the dicts, and every searcher draws the same from the same seed."""

import optuna
import pytest

from competitions.loading import load_competition
from search.request import SCHEDULER_NAMES, SEARCHER_NAMES, TRACKER_NAMES, Request, check_request
from search.trackers import TRACKERS
from search.tune.scheduler import SCHEDULERS
from search.tune.searcher import SEARCHERS
from search_spaces import load_space
from system.errors import UserError


def test_names_are_those_of_the_dicts() -> None:
    assert set(SEARCHER_NAMES) == set(SEARCHERS)
    assert set(SCHEDULER_NAMES) == set(SCHEDULERS)
    assert set(TRACKER_NAMES) == {"none", *TRACKERS}


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_searcher_draws_the_same_from_the_same_seed(name: str) -> None:
    def draws(seed: int) -> list[dict[str, object]]:
        study = optuna.create_study(direction="maximize")
        found = []
        for number in range(12):
            study.sampler = SEARCHERS[name](seed + number)
            trial = study.ask()
            load_space("quick").suggest(trial)
            study.tell(trial, number % 5)
            found.append(trial.params)
        return found

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_all_faults_of_a_request_are_named_at_once() -> None:
    request = Request(
        "clothing", space="quikc", trials=-3, targets=("garmnt",), fold=9, hours=-1, cpus_per_trial=0, searcher="tpee", seed=2**40
    )
    with pytest.raises(UserError) as wrong:
        check_request(request, load_competition("clothing"))
    said = "\n".join(wrong.value.faults)
    for text in (
        "quick",
        "garment",
        "trials must be",
        "fold must be 0..4, got 9; split 'senders' has 5 folds",
        "hours must",
        "cpus-per-trial",
        "did you mean tpe",
        "seed",
    ):
        assert text in said, text
