"""The study page in a real browser: it is drawn, sorts and filters, runs nothing foreign, and is readable on a phone in the dark."""

import re
from pathlib import Path

import pytest

from reports.study import importance
from reports.trial_table import by_target, comparable, trial_table
from reports.write import write_pages
from system.errors import UserError
from system.paths import CompetitionPaths
from tests.reports.conftest import CONTRAST, HOSTILE, Browser, write_ledger

TRIALS = 90
MANY = 500


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> CompetitionPaths:
    paths = CompetitionPaths(tmp_path_factory.mktemp("storage") / "made")
    write_ledger(paths, TRIALS)
    return paths


@pytest.fixture(scope="module")
def page(paths: CompetitionPaths) -> Path:
    return Path(write_pages("made", storage=paths.root.parent)["pages"]["study"])


def test_the_page_is_drawn_and_runs_no_foreign_script(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.driver.title.startswith("made")
    assert browser.js("return document.querySelectorAll('#board tbody tr').length") == TRIALS
    assert HOSTILE in browser.js("return document.getElementById('board').textContent"), "it is shown as the text it is"


def test_the_leaderboard_sorts_and_filters_by_keyboard_alone(browser: Browser, page: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    column = "return [...document.querySelectorAll('#board tbody tr:not([hidden])')].map((row) => row.cells[2].dataset.value)"
    best_first = [float(value) for value in browser.js(column)]
    assert best_first == sorted(best_first, reverse=True)

    def press(*keys: str) -> None:
        ActionChains(browser.driver).send_keys(*keys).perform()

    for _ in range(60):
        press(Keys.TAB)
        if browser.js("return document.activeElement.id") == "filter":
            break
    press("MASK finished")
    shown = browser.js("return [...document.querySelectorAll('#board tbody tr:not([hidden])')].map((row) => row.innerText)")
    assert 0 < len(shown) < TRIALS
    assert all("mask" in row and "finished" in row for row in shown)
    assert browser.js("return document.querySelector('[data-counts]').textContent") == f"{len(shown)} of {TRIALS}"
    for _ in range(5):
        press(Keys.TAB)
        if browser.js("return document.activeElement.textContent") == "score":
            break
    press(Keys.ENTER)
    worst_first = [float(value) for value in browser.js(column)]
    assert worst_first == sorted(worst_first)
    assert len(worst_first) == len(shown)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["wide and light", "phone and dark"])
def test_every_text_can_be_read(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.js(CONTRAST) == {}


@pytest.mark.long
def test_five_hundred_trials_are_a_small_page_that_opens_fast(browser: Browser, tmp_path: Path) -> None:
    write_ledger(CompetitionPaths(tmp_path / "many"), MANY)
    page = Path(write_pages("many", storage=tmp_path)["pages"]["study"])
    assert page.stat().st_size < 15e6
    assert min(browser.open(page) for _ in range(3)) < 6, "3 seconds on a free machine"


def test_every_number_of_the_page_is_the_ledgers(paths: CompetitionPaths, page: Path) -> None:
    text, trials = page.read_text(encoding="utf-8"), trial_table(paths)
    for row, trial in zip(re.findall(r"<tr><th scope=\"row\"><code>(\w+)</code></th>(.*)</tr>", text), trials, strict=True):
        assert row[0] == trial.trial_id
        assert f"{trial.score:.4f}" in row[1]
    pruned = [trial for trial in trials if trial.status == "pruned" and trial.target == "age"]
    assert f'<td class="n">{len(pruned)}</td>' in text
    assert f'<td class="n">{6 * len(pruned):,}</td>' in text, "epochs that were not trained"
    assert set(importance(comparable(by_target(trials)["age"]))) == {"backbone", "loss", "lr"}


def test_what_cannot_be_shown_is_said_in_a_sentence(paths: CompetitionPaths) -> None:
    with pytest.raises(UserError, match="unknown study 'nigth'; did you mean night"):
        write_pages("made", storage=paths.root.parent, study="nigth")
    with pytest.raises(UserError) as told:
        write_pages("maid", storage=paths.root.parent)
    assert [fault.partition(":")[0] for fault in told.value.faults] == ["study page", "ensemble page", "data page"]
    assert "no trial of maid to show yet; run_search.py maid trains some" in told.value.faults[0]
    assert not (paths.root.parent / "maid").exists(), "nothing is written for a name that means nothing"
