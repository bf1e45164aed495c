"""A browser that looks at pages as people do, and a ledger of made-up trials whose names try to run a script."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ledger.studies import StudyFolder, Suggestion
from ledger.trials import Record, TrialFolder
from system.paths import CompetitionPaths

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
const ground = (node) => {
  if (!(node instanceof Element)) return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
  const [r, g, b, a = 1] = parse(getComputedStyle(node).backgroundColor);
  return a === 1 ? [r, g, b] : ground(node.parentNode).map((under, n) => under * (1 - a) + [r, g, b][n] * a);
};
const faults = {};
for (const node of document.querySelectorAll("body *")) {
  const told = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!told || node.closest("script, style, noscript, [hidden]") || !node.getClientRects().length) continue;
  const style = getComputedStyle(node), inChart = node.namespaceURI.endsWith("svg");
  if (inChart && node.closest(".hoverlayer")) continue;
  const [one, other] = [light(parse(inChart ? style.fill : style.color)), light(ground(node))].sort((a, b) => b - a);
  const ratio = (one + 0.05) / (other + 0.05);
  if (ratio < 4.5) faults[`${node.tagName}.${node.getAttribute("class")}: ${node.textContent.slice(0, 30)}`] = ratio;
}
return faults;
"""
"""The texts whose contrast is under 4.5, the AA of WCAG 2.2, with their contrast."""


@dataclass
class Browser:
    """Chromium without a window."""

    driver: "Chrome"
    downloads: Path

    def open(self, page: Path, *, width: int = 1280, dark: bool = False) -> float:
        """Open a page, wait until its charts are drawn, and refuse what no page may do; returns the seconds it took."""
        look = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", look)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get_log("performance")
        started = time.monotonic()
        self.driver.get(page.as_uri())
        while self.js("return document.querySelectorAll('[data-chart]:not([data-drawn])').length"):
            assert time.monotonic() - started < 30, f"not drawn: {self.driver.get_log('browser')}"
            time.sleep(0.02)
        seconds = time.monotonic() - started
        assert self.driver.get_log("browser") == [], "the console says nothing"
        assert self.requests() == [page.as_uri()]
        assert self.driver.title != "ran"
        assert self.js("return document.documentElement.scrollWidth <= innerWidth"), "no page is wider than its window"
        assert self.js("return [...document.querySelectorAll('[data-chart]')].every((one) => one.querySelector('.main-svg'))")
        return seconds

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """What was asked for since the last call, data in the page itself aside."""
        said = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in said if one["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:"))]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (requirements-dev.txt)")
    from selenium.webdriver.chrome.service import Service

    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("pages are looked at in Chromium, which is not here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    folder = tmp_path_factory.mktemp("chromium")
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        f"user-data-dir={folder}/user",
    ):
        options.add_argument(f"--{flag}")
    options.binary_location = str(programs[0])
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1], log_output=os.devnull))
    yield Browser(driver, folder / "downloads")
    driver.quit()


def write_ledger(paths: CompetitionPaths, n_trials: int, seed: int = 0) -> None:
    """A study of made-up trials of two targets: some pruned, some that still run, and settings whose names are hostile."""
    rng = np.random.default_rng(seed)
    study = StudyFolder(paths.studies / "night")
    study.write_plan({})
    for number in range(1, n_trials + 1):
        epochs, done = 8, 2 if number % 3 == 0 else 1 if number % 10 == 1 else 8
        config = {
            "target": ("age", "mask")[number % 2],
            "fold": 0,
            "seed": 0,
            "data": "d",
            "metric": "macro_f1",
            "split": "persons",
            "epochs": epochs,
            "backbone": ("resnet18", HOSTILE)[int(rng.integers(2))],
            "loss": ("cross_entropy", "focal")[int(rng.integers(2))],
            "lr": float(10 ** rng.uniform(-4, -2)),
            "weights": "",
        }
        trial = f"{number:012x}"
        folder = TrialFolder(paths.trials / trial)
        folder.write_config(config)
        curve = [float(value) for value in np.sort(rng.uniform(0.3, 0.9, done))]
        folder.write_record(
            Record(
                trial, trial, str(config["target"]), 0, 0, epochs, done, curve[-1], done, curve, weights="w", seconds=7.5 * done
            )
        )
        study.write_suggestion(Suggestion(number, str(config["target"]), trial, {}))
        study.log("started", trial)
        if done != 1:
            study.log("pruned" if done < epochs else "finished", trial, epoch=done)
