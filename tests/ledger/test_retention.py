"""The quota drops weights that no good ensemble would use, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.gather import WIDTH
from ensemble.options import MOST
from ledger.retention import (
    POOL,
    Held,
    Keep,
    _drop,
    enforce,
    exported_members,
    has_weights,
    losers,
    n_bytes_of,
    parse_keep,
    trials_with_weights,
    weights_of,
)
from ledger.studies import StudyFolder, Suggestion
from ledger.trials import ALL_DATA, Record, TrialFolder
from system.claims import claim
from system.errors import UserError
from system.paths import CompetitionPaths

EPOCHS = 4


@pytest.fixture
def paths(tmp_path: Path) -> CompetitionPaths:
    return CompetitionPaths(tmp_path / "storage" / "tiny")


def put(paths: CompetitionPaths, trial: str, score: float | None, target: str = "colour", **facts: Any) -> TrialFolder:
    """A trial's folder as its worker leaves it, with weights of 100 bytes and predictions."""
    folder = TrialFolder(paths.trials / trial)
    fold, data = facts.pop("fold", 0), facts.pop("data", "d")
    folder.write_config({"target": target, "data": data, "fold": fold, "seed": 0, "metric": "accuracy", "epochs": EPOCHS})
    record = Record(trial, "c", target, fold, 0, EPOCHS, EPOCHS, score, 1, [score or 0.0] * EPOCHS, weights="w" * 64)
    folder.write_record(replace(record, **facts))
    folder.write_metrics([{"epoch": 1}])
    folder.add_provenance({"host": "h"})
    (folder.predictions / "w").mkdir(parents=True)
    (folder.predictions / "w" / "validation.colour.identity.npy").write_bytes(b"probs")
    folder.last.write_bytes(b"l" * 60)
    folder.best.write_bytes(b"b" * 40)
    return folder


def pruned(paths: CompetitionPaths, trial: str, score: float, study: str = "s", *events: str) -> TrialFolder:
    """A trial of which two of four epochs are there, with what a study says about it."""
    folder = put(paths, trial, score, epochs_done=2, curve=[score] * 2)
    said = StudyFolder(paths.studies / study)
    said.write_plan({})
    number = len(said.suggestions()) + 1
    said.write_suggestion(Suggestion(number, "colour", trial, {}))
    for event in events or ("started", "pruned"):
        said.log(event, trial, epoch=2)
    return folder


def export(paths: CompetitionPaths, *trials: str) -> None:
    place = paths.ensembles / "-".join(trials) / "plan.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"tasks": [{"voters": [[trial, "identity"], [trial, "hflip"]]} for trial in trials]}))


def holding(paths: CompetitionPaths) -> set[str]:
    return {one.folder.id for one in trials_with_weights(paths)}


def others(paths: CompetitionPaths) -> dict[str, bytes]:
    """Every file but weights."""
    kept = (path for path in paths.root.rglob("*") if path.is_file() and path.suffix != ".safetensors")
    return {str(path.relative_to(paths.root)): path.read_bytes() for path in kept}


def test_the_best_of_each_group_stay_and_nothing_but_weights_goes(paths: CompetitionPaths) -> None:
    for number in range(6):
        put(paths, f"c{number}", number / 10)
        put(paths, f"s{number}", number / 10, target="shape")
    put(paths, "old", 0.05, data="other photos")
    before = others(paths)
    done = enforce(paths, Keep(trials=2))
    assert holding(paths) == {"c4", "c5", "s4", "s5", "old"}
    assert others(paths) == before
    assert (len(done.trials), done.n_bytes, done.held) == (8, 800, 500)
    assert not any(path.exists() for path in weights_of(TrialFolder(paths.trials / "c0")))
    again = enforce(paths, Keep(trials=2))
    assert (again.trials, again.n_bytes) == ((), 0)


def test_what_may_be_needed_keeps_its_weights(paths: CompetitionPaths) -> None:
    put(paths, "best", 0.9)
    put(paths, "worst", 0.1)
    put(paths, "voter", 0.2)
    put(paths, "held", 0.3)
    put(paths, "final", None, fold=ALL_DATA)
    put(paths, "unasked", 0.4, epochs_done=2)
    put(paths, "wild", None, diverged=True)
    pruned(paths, "let-go", 0.5)
    pruned(paths, "wanted", 0.5)
    other = StudyFolder(paths.studies / "other")
    other.write_plan({})
    other.write_suggestion(Suggestion(1, "colour", "wanted", {}))
    pruned(paths, "failed", 0.5, "s", "started", "failed")
    export(paths, "voter")
    held = claim(paths.trials / "held" / "claim.json")
    assert held is not None
    with held:
        assert set(enforce(paths, Keep(trials=1)).trials) == {"worst", "wild", "let-go"}
    assert holding(paths) == {"best", "voter", "held", "final", "unasked", "wanted", "failed"}
    assert set(enforce(paths, Keep(trials=1)).trials) == {"held"}


def test_an_ensemble_that_cannot_be_read_stops_all_dropping_and_is_named(paths: CompetitionPaths) -> None:
    put(paths, "a", 0.1)
    put(paths, "b", 0.2)
    export(paths, "b")
    (paths.ensembles / "b" / "plan.json").write_text('{"tasks": [')
    done = enforce(paths, Keep(trials=1))
    assert done.blocked is not None
    assert "ensembles/b cannot be read" in done.blocked
    assert len(list(paths.trials.glob("*/*.safetensors"))) == 4


def test_a_trial_that_went_on_after_it_was_listed_keeps_its_weights(paths: CompetitionPaths) -> None:
    folder = pruned(paths, "a", 0.5)
    listed = trials_with_weights(paths)
    record = folder.record()
    assert record is not None
    folder.write_record(replace(record, epochs_done=EPOCHS, curve=[0.5] * EPOCHS))
    assert _drop(listed[0]) == 0
    assert has_weights(folder)


def test_a_size_keeps_the_best_of_each_target_while_they_fit(paths: CompetitionPaths) -> None:
    for number in range(4):
        put(paths, f"c{number}", 0.9 - number / 10)
        put(paths, f"s{number}", 0.3 - number / 10, target="shape")
    pruned(paths, "p", 0.99)
    enforce(paths, Keep(n_bytes=550))
    assert holding(paths) == {"c0", "c1", "c2", "s0", "s1"}
    enforce(paths, Keep(n_bytes=50))
    assert holding(paths) == set()


def test_a_file_with_two_names_is_counted_once(paths: CompetitionPaths) -> None:
    folder = put(paths, "a", 0.1)
    (folder.path / "previous.safetensors").hardlink_to(folder.last)
    assert n_bytes_of(folder) == 100


STATES = st.sampled_from(["finished", "pruned", "diverged", None])
TRIALS = st.lists(
    st.tuples(STATES, st.booleans(), st.integers(0, 2), st.integers(0, 5), st.integers(1, 50)), min_size=1, max_size=25
)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], TrialFolder]:
    """Folders that have best weights."""
    root = tmp_path_factory.mktemp("trials")
    for number in range(25):
        folder = TrialFolder(root / f"{number:02}")
        folder.path.mkdir()
        folder.best.touch()
    return lambda number: TrialFolder(root / f"{number:02}")


@given(trials=TRIALS, n=st.integers(1, 6), n_bytes=st.integers(1, 600))
def test_no_quota_takes_what_is_protected_or_a_better_trial_before_a_worse_one(
    there: Callable[[int], TrialFolder], trials: list[Any], n: int, n_bytes: int
) -> None:
    held = [
        Held(
            there(number),
            Record(f"{number}", "", "", 0, 0, 1, score=None if state == "diverged" else score / 5),
            (f"t{group}", "d", 0, "m"),
            state,
            protected,
            size,
        )
        for number, (state, protected, group, score, size) in enumerate(trials)
    ]
    for keep in (Keep(trials=n), Keep(n_bytes=n_bytes)):
        lost = {one.folder.id for one in losers(held, keep)}
        stay = [one for one in held if one.folder.id not in lost]
        free = [one for one in stay if one.state is not None and not one.protected]
        assert not any(one.folder.id in lost for one in held if one.protected or one.state is None)
        for one in free:
            for other in (other for other in held if other.folder.id in lost):
                if (other.group, other.state) == (one.group, one.state) == (one.group, "finished"):
                    assert (other.record.score, other.folder.id) != (one.record.score, one.folder.id)  # type: ignore[union-attr]
                    assert (-other.record.score, other.folder.id) > (-one.record.score, one.folder.id)  # type: ignore[union-attr,operator]
        if keep.trials is not None:
            assert all(one.state == "finished" for one in free)
            for group in {one.group for one in held}:
                assert sum(one.group == group for one in free) <= n
        else:
            needed = sum(one.n_bytes for one in held if one.protected or one.state is None)
            assert sum(one.n_bytes for one in stay) <= max(n_bytes, needed)
        kept = {one.folder.id for one in stay}
        assert {one.folder.id for one in stay if one not in losers(stay, keep)} == kept, "dropping once is enough"


def test_a_pool_of_an_export_is_what_the_advice_keeps() -> None:
    assert POOL == WIDTH * MOST


@pytest.mark.parametrize("text", ["0", "-3", "", "many", "3.5", "0GB", "20 GiB", "GB", "1e3"])
def test_what_is_no_quota_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(UserError, match="20GB"):
        parse_keep(text)


def test_exported_members_are_those_of_every_plan(paths: CompetitionPaths) -> None:
    export(paths, "a", "b")
    export(paths, "c")
    assert exported_members(paths) == {"a", "b", "c"}
