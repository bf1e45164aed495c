"""The best becomes the baseline: search around it, ask what helped, train it on all photos; by the verbs' command lines."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.query import all_data_sibling, fold_siblings
from system.paths import CompetitionPaths
from tests.verbs.conftest import Desk, Done, eventually

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Varied:
    """A base, its variations under two seeds, and what was said of them."""

    desk: Desk
    base: str
    first: Any
    second: Any
    asked: Any
    shown: Done


@pytest.fixture(scope="module")
def varied(new_desk: Callable[[], Desk]) -> Varied:
    desk = new_desk()
    start = ("--space", "smoke", "--trials", 1, "--targets", "colour", "--cpus-per-trial", 2, "--json")
    base = desk.run("run_search.py", desk.yaml, *start).json["targets"]["colour"]["best"]["trial_id"]
    around = ("--base", base, "--vary", "lr,augmentation", "--space", "smoke", "--trials", 2, "--json")
    first = desk.run("run_search.py", desk.yaml, *around, "--study", "first").json
    second = desk.run("run_search.py", desk.yaml, *around, "--seed", 1, "--study", "second").json
    asked = desk.run("show_trials.py", "tiny", "--against", base, "--json").json
    return Varied(desk, base, first, second, asked, desk.run("show_trials.py", "tiny", "--against", base))


def configs(varied: Varied, study: str) -> list[dict[str, Any]]:
    return [suggestion["settings"] for suggestion in varied.desk.suggestions(study)]


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {name for name in one if one[name] != other[name]}


def test_each_variation_changes_one_setting_and_shares_fold_seed_and_threads(varied: Varied) -> None:
    base, *variations = configs(varied, "first")
    assert base == varied.desk.json_of(f"trials/{varied.base}/config.json")
    assert [differing(base, config) for config in variations][:2] == [{"lr"}, {"augmentation"}]
    assert varied.first["targets"]["colour"]["trials"] == {"finished": 3}  # the base is answered from the ledger
    answered = [event["trial_id"] for event in varied.desk.events("first") if event["event"] == "answered"]
    assert answered == [varied.base]


def test_another_seed_makes_the_same_variations_and_the_partner_of_the_base(varied: Varied) -> None:
    one, two = (configs(varied, study) for study in ("first", "second"))
    assert [{**config, "seed": 1} for config in one] == two
    assert varied.second["targets"]["colour"]["trials"] == {"finished": 3}


def test_did_it_help_is_answered_from_pairs_of_both_seeds(varied: Varied) -> None:
    assert varied.second["against"] == varied.asked
    assert varied.second["base"] == varied.base
    assert {change["setting"] for change in varied.asked} == {"lr", "augmentation"}
    partners = [varied.desk.suggestions(study)[0]["trial_id"] for study in ("first", "second")]
    base_scores = [varied.desk.record(trial)["score"] for trial in partners]  # type: ignore[index]
    for change in varied.asked:
        assert list(change) == ["change", "setting", "from", "to", "pairs", "mean", "low", "high", "verdict", "trials"]
        assert (change["pairs"], len(change["trials"])) == (2, 2)
        records = [varied.desk.record(trial) for trial in change["trials"]]
        gains = [record["score"] - base_scores[record["seed"]] for record in records]  # type: ignore[index]
        assert change["mean"] == pytest.approx(sum(gains) / 2)
        assert change["low"] <= change["mean"] <= change["high"]
        assert change["change"] in varied.shown.out
    assert [change["pairs"] for change in varied.first["against"]] == [1, 1]


def test_a_study_around_a_base_goes_on_as_it_was_started(varied: Varied) -> None:
    again = varied.desk.run("run_search.py", varied.desk.yaml, "--resume", "first", "--trials", 3, "--json").json
    base, *variations = configs(varied, "first")
    assert [differing(base, config) for config in variations] == [{"lr"}, {"augmentation"}, {"lr"}]
    assert again["base"] == varied.base


def test_settings_that_are_exhausted_end_the_study_and_say_so(varied: Varied) -> None:
    around = ("--base", varied.base, "--vary", "augmentation", "--space", "smoke", "--trials", 9, "--seed", 2)
    done = varied.desk.run("run_search.py", varied.desk.yaml, *around, "--json")
    assert done.json["targets"]["colour"]["trials"] == {"finished": 2}  # the base's partner, and the only other policy
    assert "its space is exhausted" in done.err


def test_the_best_is_trained_on_all_photos_and_is_shown_without_a_score(varied: Varied) -> None:
    desk = varied.desk
    said = desk.run("run_search.py", desk.yaml, "--all-data", "--base", varied.base, "--study", "all", "--json").json
    facts = said["targets"]["colour"]
    assert (facts["trials"], facts["best"], facts["on_all_data"]) == ({"finished": 1}, None, True)
    sibling = all_data_sibling(CompetitionPaths(desk.kept), varied.base)
    base, own = (desk.json_of(f"trials/{trial}/config.json") for trial in (varied.base, sibling))
    assert differing(base, own) == {"fold"}
    assert own["fold"] == -1
    (row,) = [row for row in desk.run("show_trials.py", "tiny", "--json").json if row["trial_id"] == sibling]
    assert (row["status"], row["score"], row["best_epoch"], row["epochs"]) == ("finished", None, None, 2)
    (line,) = [line for line in desk.run("show_trials.py", "tiny").out.splitlines() if str(sibling) in line]
    assert line.split()[1:5] == ["colour", "all", "finished", "-"]
    kept = {path.name for path in (desk.kept / "trials" / str(sibling) / "predictions").rglob("*.npy")}
    assert {"test.colour.identity.npy", "test.colour.hflip.npy"} <= kept  # what a vote needs is there
    before = desk.record(str(sibling))
    again = desk.run("run_search.py", desk.yaml, "--resume", "all", "--json").json
    assert again["targets"]["colour"]["trials"] == {"finished": 1}
    assert desk.record(str(sibling)) == before


def test_a_member_over_all_folds_goes_on_after_ctrl_c_and_trains_nothing_twice(varied: Varied) -> None:
    desk = varied.desk
    asked = ("run_search.py", desk.yaml, "--all-folds", "--base", varied.base, "--study", "folds", "--json")
    dry = desk.run(*asked, "--dry-run").json
    wanted = {one["fold"]: one["trial_id"] for one in dry["members"]["colour"]}
    assert sorted(wanted) == [1, 2, 3]
    child = desk.start(*asked)
    eventually(
        lambda: any(event["event"] == "finished" for event in desk.events("folds")), what="the first fold's end", timeout=240.0
    )
    desk.signal(child, signal.SIGINT)
    assert "--resume folds" in desk.wait(child, code=130).err
    whole = {trial: desk.record(trial) for trial in wanted.values() if (desk.record(trial) or {}).get("epochs_done") == 2}
    assert whole
    facts = desk.run("run_search.py", desk.yaml, "--resume", "folds", "--json").json["targets"]["colour"]
    assert (facts["trials"], facts["best"], facts["on_all_data"]) == ({"finished": 3}, None, False)
    (member,) = facts["members"]
    assert {one["fold"]: one["trial_id"] for one in member["folds"]} == {0: varied.base, **wanted}
    scores = [desk.record(one["trial_id"])["score"] for one in member["folds"]]  # type: ignore[index]
    assert [one["score"] for one in member["folds"]] == scores
    assert member["score"] == pytest.approx(sum(scores) / 4)
    assert {trial: desk.record(trial) for trial in whole} == whole
    base, *own = (desk.json_of(f"trials/{trial}/config.json") for trial in (varied.base, *wanted.values()))
    assert all(differing(base, config) == {"fold"} for config in own)
    (siblings,) = fold_siblings(CompetitionPaths(desk.kept), [varied.base]).values()
    assert siblings == {0: varied.base, **wanted}
    kept = {path.name for path in (desk.kept / "trials" / wanted[1] / "predictions").rglob("*.npy")}
    assert {"validation.colour.hflip.npy", "test.colour.hflip.npy"} <= kept  # every view, so that an export waits for nothing
    again = desk.run("run_search.py", desk.yaml, "--all-folds", "--base", varied.base, "--study", "known")
    assert "3 finished; 0 epochs; 1 over all folds:" in again.out, "all are answered from the ledger"
    assert f"fold 0 {scores[0]:.4f} ({varied.base}), fold 1 {scores[1]:.4f}" in again.out


def test_the_best_of_each_target_are_trained_on_all_photos(varied: Varied) -> None:
    desk = varied.desk
    said = desk.run("run_search.py", desk.yaml, "--all-data", "--trials", 2, "--targets", "colour", "--study", "two")
    assert "2 finished" in said.out
    assert "trained on all data, no score" in said.out
    rows = desk.run("show_trials.py", "tiny", "--json").json
    scored = sorted({(-row["score"], row["trial_id"]) for row in rows if row["score"] is not None and row["fold"] == 0})
    wanted = {all_data_sibling(CompetitionPaths(desk.kept), trial) for _, trial in scored[:2]}
    assert {suggestion["trial_id"] for suggestion in desk.suggestions("two")} == wanted
