"""A study of which a file was damaged goes on as one of which none was: no trial too many, none lost, nothing unknown told."""

import importlib.util
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from ledger.repair.studies import repair_study
from trainables.config import name_of

SPEC = importlib.util.spec_from_file_location("searcher_driver", Path(__file__).with_name("test_searcher.py"))
assert SPEC is not None
assert SPEC.loader is not None
driver = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(driver)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search of four trials for each of two targets, one of them pruned."""
    root = tmp_path_factory.mktemp("searched") / "bench"
    made = driver.Driver(root)
    made.study.write_plan({"request": {}})
    for number in range(8):
        given = made.ask()
        facts: dict[str, Any] = {"epochs_done": 2, "curve": [0.5, 0.25], "score": 0.5} if number == 3 else {}
        made.end(given, "pruned" if facts else "finished", **facts)
    return root


def go_on(root: Path) -> tuple[Any, list[str]]:
    """Mend, resume and run to the end; returns the driver and the trials that were trained."""
    study = driver.Driver.__new__(driver.Driver)
    study.study = driver.StudyFolder(root / "studies/s")
    repair_study(study.study, root / "trials", name_of)
    resumed = driver.Driver(root)
    return resumed, resumed.run()


def test_nothing_is_trained_again_for_a_damaged_event_or_suggestion(searched: Path, tmp_path: Path) -> None:
    chance, lines = random.Random(0), 16
    names = [path.relative_to(searched) for path in sorted((searched / "studies/s/suggestions").iterdir())]
    for number in range(lines + len(names)):
        root = tmp_path / str(number) / "bench"
        shutil.copytree(searched, root)
        path = root / (names[number - lines] if number >= lines else "studies/s/events.jsonl")
        data = bytearray(path.read_bytes())
        starts = [0, *(place + 1 for place, byte in enumerate(data) if byte == 10)]
        place = starts[number] + 5 if number < lines else chance.randrange(len(data) - 1)
        data[place] ^= 1
        path.write_bytes(data)
        before = {suggestion.trial_id for suggestion in driver.StudyFolder(searched / "studies/s").suggestions()}
        resumed, trained = go_on(root)
        pruned = {trial for trial, status in driver.StudyFolder(searched / "studies/s").statuses().items() if status == "pruned"}
        assert set(trained) <= pruned, "what was lost of a pruned trial lets it go on, nothing else is trained"
        assert {suggestion.trial_id for suggestion in resumed.study.suggestions()} == before


def test_a_sampler_is_not_told_what_it_did_not_draw(searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path / "bench")
    (tmp_path / "bench/studies/s/suggestions/000001.json").write_bytes(b"")
    resumed, trained = go_on(tmp_path / "bench")
    assert not trained
    states = driver.states(resumed.searcher, "colour")
    assert states.count(TrialState.FAIL) == 1


def test_a_trial_whose_folder_was_moved_away_is_trained_again(searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path / "bench")
    study = driver.StudyFolder(tmp_path / "bench/studies/s")
    finished = next(trial for trial, status in study.statuses().items() if status == "finished")
    shutil.move(tmp_path / "bench/trials" / finished, tmp_path / finished)
    assert go_on(tmp_path / "bench")[1] == [finished]
