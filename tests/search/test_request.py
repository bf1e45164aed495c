"""Every fault of a request is named at once, every flag is one line, and every searcher draws the same from the same seed."""

from argparse import ArgumentParser

import optuna
import pytest
from ray.tune.schedulers import TrialScheduler

from competitions.loading import load_competition
from search.request import FLAGS, Flag, Request
from search.request_check import check_request
from search.searchers import SEARCHERS
from search.tune.stopping import SCHEDULERS
from search_spaces import load_space
from system.errors import UserError


def test_what_a_plan_remembers_and_what_is_said_again_follow_from_the_table() -> None:
    by_when = {when: [flag.option for flag in FLAGS if flag.when == when] for when in ("run", "anew", "call")}
    assert by_when == {
        "run": ["--hours", "--no-export", "--loader-workers", "--address", "--track", "--retry-failed"],
        "anew": ["--trials", "--gpus-per-trial", "--accept-change", "--keep"],
        "call": ["--resume", "--dry-run"],
    }
    assert [flag.name for flag in FLAGS if not flag.recorded] == [
        "no_export",
        "address",
        "resume",
        "retry_failed",
        "accept_change",
        "dry_run",
    ]
    assert {
        flag.name: flag.kind for flag in FLAGS if flag.name in ("trials", "hours", "targets", "vary", "resume", "all_data")
    } == {
        "trials": int,
        "hours": float,
        "targets": tuple,
        "vary": tuple,
        "resume": str,
        "all_data": bool,
    }


@pytest.mark.parametrize("flag", FLAGS, ids=str)
def test_every_flag_is_typed_as_the_command_to_go_on_writes_it(flag: Flag) -> None:
    parser = ArgumentParser()
    parser.add_argument(flag.option, **flag.parser_arguments())
    assert getattr(parser.parse_args([]), flag.name) is None
    value = {int: 3, float: 1.5, str: "a", bool: True, tuple: ("a", "b")}[flag.kind]
    words = [flag.option, "a,b"] if flag.kind is tuple else flag.words(value)
    assert getattr(parser.parse_args(words), flag.name) == value


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_stands_on_the_space_s_rungs(name: str) -> None:
    scheduler = SCHEDULERS[name](load_space("quick"))
    assert isinstance(scheduler, TrialScheduler)


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
