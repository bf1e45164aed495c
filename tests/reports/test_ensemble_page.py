"""The ensemble page of an export that an earlier version wrote: its numbers, and that a class called like a script stays a name."""

import json
import shutil
from pathlib import Path

import pytest

from reports.ensemble import newest_ensemble
from reports.write import write_pages
from system.errors import UserError
from system.files import read_json
from system.paths import CompetitionPaths
from tests.reports.conftest import CONTRAST, HOSTILE, Browser

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> CompetitionPaths:
    """Ana's ledger, in whose exports the class `red` has a hostile name."""
    root = tmp_path_factory.mktemp("ours") / "drawn"
    shutil.copytree(FIXTURES / "ours/drawn", root)
    for file in root.glob("ensembles/*/*.json"):
        file.write_text(file.read_text().replace('"red"', json.dumps(HOSTILE)))
    return CompetitionPaths(root)


@pytest.fixture(scope="module")
def several(paths: CompetitionPaths) -> str:
    """An export in which several members vote for a task."""
    plans = {path.parent.name: read_json(path) for path in sorted(paths.ensembles.glob("*/plan.json"))}
    return max(plans, key=lambda name: max(len({member for member, _ in task["voters"]}) for task in plans[name]["tasks"]))


def test_the_page_is_drawn_readable_and_runs_no_foreign_script(browser: Browser, paths: CompetitionPaths, several: str) -> None:
    made = write_pages("drawn", storage=paths.root.parent, ensemble=several)
    page = Path(made["pages"]["ensemble"])
    for width, dark in ((1280, True), (390, False)):
        browser.open(page, width=width, dark=dark)
        assert browser.js("for (const one of document.querySelectorAll('details')) one.open = true") is None
        assert browser.js(CONTRAST) == {}
    assert HOSTILE in browser.js("return document.querySelector('.heat').closest('section').textContent")
    assert "drawn.yaml" in made["left_out"]["data"] or "drawn" in made["left_out"]["data"]


def test_every_export_can_be_shown(paths: CompetitionPaths, tmp_path: Path) -> None:
    names = [path.parent.name for path in paths.ensembles.glob("*/plan.json")]
    assert len(names) > 4
    for name in names:
        text = Path(
            write_pages("drawn", storage=paths.root.parent, ensemble=name, to=str(tmp_path))["pages"]["ensemble"]
        ).read_text()
        scores = read_json(paths.ensembles / name / "scores.json")
        assert all(f"{facts['vote']:.4f}" in text for facts in scores.values())
        assert HOSTILE not in text, "it is escaped"


def test_what_members_add_is_the_vote_minus_the_vote_without_them(
    browser: Browser, paths: CompetitionPaths, several: str, tmp_path: Path
) -> None:
    page = Path(write_pages("drawn", storage=paths.root.parent, ensemble=several, to=str(tmp_path))["pages"]["ensemble"])
    browser.open(page)
    heats = browser.js(
        "return [...document.querySelectorAll('.heat')].map((one) => [...one.tBodies[0].rows].map((row) => "
        "[...row.cells].slice(1).map((cell) => cell.textContent)))"
    )
    agreement = next(rows for rows in heats if "%" in rows[0][0])
    assert all(row[n] == "100%" for n, row in enumerate(agreement))
    assert all(agreement[i][j] == agreement[j][i] for i in range(len(agreement)) for j in range(len(agreement)))
    counts = [rows for rows in heats if "%" not in rows[0][0]]
    photos = [sum(int(cell.replace("·", "0")) for row in rows for cell in row) for rows in counts]
    assert photos[0] == photos[1] > 0, "before and after are judged on the same photos"


def test_an_ensemble_that_is_not_there_is_named(paths: CompetitionPaths) -> None:
    with pytest.raises(UserError, match=r"unknown ensemble 'nope'.*export_ensemble\.py drawn --to DIR"):
        write_pages("drawn", storage=paths.root.parent, ensemble="nope")
    assert newest_ensemble(CompetitionPaths(paths.root / "nowhere")) is None
