"""The data page and the contact sheets of photos whose classes and files have hostile names; marks leave a sheet as a CSV."""

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reports.write import write_pages
from tests.reports.conftest import CONTRAST, HOSTILE, Browser

NAMES = ('<img src=x onerror="document.title=`ran`">', "=1+1 & 'two'", "plain")
N_GROUPS, EACH = 12, 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Pages with sheets of 36 photos to learn from and 3 test photos; one photo is cut short, two are equal."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "data/odd").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(N_GROUPS * EACH):
        name = f"{NAMES[number % 3]}{number}.png"
        kind = (HOSTILE, "plain")[number // EACH % 2]
        rows.append((name, f"g{number // EACH}", "train", kind))
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(root / "data/odd" / name)
    for number in range(3):
        rows.append((f"t{number}.png", f"t{number}", "test", ""))
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(root / "data/odd" / f"t{number}.png")
    broken, copied = root / "data/odd" / rows[0][0], root / "data/odd" / rows[1][0]
    broken.write_bytes(broken.read_bytes()[:200])
    (root / "data/odd" / rows[2][0]).write_bytes(copied.read_bytes())
    with open(root / "data/odd/manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([("photo", "person", "role", "kind"), *rows])
    (root / "odd.yaml").write_text(
        "root: odd\ncolumns: {image: photo, path: photo, group: person, role: role}\n"
        f"tasks:\n  kind: {{column: kind, classes: [{HOSTILE!r}, plain]}}\n".replace(
            repr(HOSTILE), "'" + HOSTILE.replace("'", "''") + "'"
        )
        + "image_size: 32\nsplit: {name: persons, folds: 3}\nsubmission: {id_column: photo, answers: {kind: kind}, values: name}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_DATA", str(root / "data"))
        patch.delenv("PODIUM_CACHE", raising=False)
        return write_pages(str(root / "odd.yaml"), storage=root / "storage", sheets=True)


def test_the_data_page_shows_what_is_odd_and_runs_no_foreign_script(browser: Browser, made: Any) -> None:
    page = Path(made["pages"]["data"])
    for width, dark in ((1280, True), (390, False)):
        browser.open(page, width=width, dark=dark)
        assert browser.js(CONTRAST) == {}
    text = browser.js("return document.body.textContent")
    assert HOSTILE in text
    assert f"{NAMES[0]}0.png" in text, "the broken photo is named"
    assert "have the same pixels" in text
    assert "36" in browser.js("return document.querySelector('.cards').textContent")
    assert set(made["left_out"]) == {"study", "ensemble"}


def test_marks_are_kept_and_leave_a_sheet_as_a_csv(browser: Browser, made: Any) -> None:
    from selenium.webdriver.common.by import By

    train, test = map(Path, made["sheets"])
    browser.open(test, width=390, dark=True)
    browser.open(train)
    assert browser.js(CONTRAST) == {}
    photos = browser.driver.find_elements(By.CSS_SELECTOR, ".photo")
    assert len(photos) == N_GROUPS * EACH - 1, "all but the broken one"
    assert browser.js("return [...document.images].every((one) => !one.complete || one.naturalWidth > 0)")
    photos[0].click()
    photos[1].click()
    photos[1].click()
    photos[2].send_keys("w")
    photos[3].send_keys("o")
    photos[4].send_keys("w")
    photos[4].send_keys("n")
    names = [photo.get_attribute("data-id") for photo in photos[:4]]
    browser.open(train)
    assert browser.js("return document.getElementById('marked').textContent") == "2 wrong, 2 odd"
    browser.driver.find_element(By.ID, "save").click()
    file = browser.downloads / "marks.csv"
    for _ in range(200):
        if file.is_file():
            break
        time.sleep(0.05)
    with open(file, newline="") as saved:
        rows = list(csv.reader(saved))
    assert rows[0] == ["image_id", "mark", "class"]
    assert [tuple(row[:2]) for row in rows[1:]] == list(zip(names, ["wrong", "odd", "wrong", "odd"], strict=True))
    assert {row[2] for row in rows[1:]} <= {HOSTILE, "plain"}
