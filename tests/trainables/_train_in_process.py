"""Trains trials in a process that may be killed at a chosen moment. Run by `runpy` with `TOLD` set (see conftest.py).

`TOLD["kill"]` is None, ("seconds", s): s seconds after the first epoch began, or ("before" | "after", n): at the n-th replaced file.
"""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from competitions.prepare import load_prepared
from system.paths import CompetitionPaths
from trainables.attach import attach
from trainables.config import TrialConfig
from trainables.probes.run import open_run

TOLD: dict[str, Any] = globals()["TOLD"]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killing(replace: Callable[..., None], moment: str, number: float) -> Callable[..., None]:
    n_replaced = 0

    def replace_and_count(*paths: Any) -> None:
        nonlocal n_replaced
        n_replaced += 1
        if moment == "before" and n_replaced == number:
            die()
        replace(*paths)
        if moment == "after" and n_replaced == number:
            die()

    return replace_and_count


os.environ["PODIUM_DATA"] = TOLD["data"]
os.environ.pop("PODIUM_CACHE", None)
prepared = load_prepared(CompetitionPaths(Path(TOLD["root"])), TOLD["key"])
prepared.cache(32)
moment, number = TOLD["kill"] or ("", 0)
if moment in ("before", "after"):
    os.replace = killing(os.replace, moment, number)
for settings in TOLD["configs"]:
    config = TrialConfig.from_json(settings)
    run = open_run(config, attach(prepared, config, trials=Path(TOLD["trials"])))
    if moment == "seconds":
        timer = threading.Timer(number, die)
        timer.daemon = True
        timer.start()
    while not run.record.ended:
        run.step()
