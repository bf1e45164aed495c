"""The actor: a Ray process that trains one trial after another without starting anew.

Process start and imports cost seconds, a reset costs milliseconds; a trial after a reset equals one in a fresh process bit for bit.
"""

import gc
import logging
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ray import tune

from competitions.prepare import Prepared, load_prepared
from ledger.progress import teller
from ledger.trials import TrialFolder
from search.tune.disk_stop import DISK_FULL
from search.tune.worker_log import hearing
from system.claims import Claim, claim
from system.disk import is_full, sentence
from system.errors import UserError
from system.paths import CompetitionPaths
from trainables.attach import attach, complete_trial
from trainables.config import TrialConfig
from trainables.probes.run import ProbeRun, open_run
from trainables.training import TrialRun

log = logging.getLogger("podium.actor")


@lru_cache(2)
def prepared_for(root: str, key: str) -> Prepared:
    """The competition's data, attached once per process."""
    return load_prepared(CompetitionPaths(Path(root)), key)


class TrialActor(tune.Trainable):  # type: ignore[misc]  # ray ships no types
    """Ray Tune's class contract: `setup` once, `step` per epoch, `reset_config` for the next trial in the same process."""

    def setup(self, config: dict[str, Any], root: str, prepared: str, study: str, device: str, loader_workers: int) -> None:
        """Attach to the data; the arguments beside `config` are bound once per study.

        The trial itself is opened by its first `step`: Tune may start a second process for a trial and then hand the trial to
        one that became free (seen on 2.60), and only one of them may claim it.
        """
        self._data = prepared_for(root, prepared)
        self._study, self._device, self._loader_workers = study, device, loader_workers
        self._next: dict[str, Any] | None = config
        self._run: TrialRun | ProbeRun | None = None
        self._claim: Claim | None = None
        self._untold = False
        self._said: list[str] = []

    def step(self) -> dict[str, Any]:
        """One epoch; everything is on disk before this returns.

        A trial that goes on tells its last whole epoch first: whoever was killed may not have told it. One that met a full disk is
        let go of: what was not written is not told.
        """
        try:
            return self._step()
        except OSError as error:
            if not is_full(error):
                raise
            self._close()
            return {"done": True, DISK_FULL: sentence(error), "epoch": 0, "best_score": float("-inf")}

    def _step(self) -> dict[str, Any]:
        if self._next is not None:
            self._open(self._next)
        if self._run is None:
            return {"done": True, "elsewhere": True, "epoch": 0, "best_score": float("-inf")}
        if self._claim is not None and not self._claim.still_mine():
            raise RuntimeError(
                "the claim on this trial was taken over while this process stood still; somebody else goes on with it"
            )
        if not (self._run.record.ended or self._untold):
            self._run.step()
        self._untold = False
        record = self._run.record
        score = record.score if record.score is not None else float("-inf")
        told, self._said = {"said": "\n".join(self._said)} if self._said else {}, []
        return {"epoch": record.epochs_done, "best_score": score, "diverged": record.diverged, "done": record.ended, **told}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Drop everything of the old trial; the next one is opened by its first step."""
        self._close()
        self._next = new_config
        return True

    def cleanup(self) -> None:
        """Ray is done with this process."""
        self._close()

    def _open(self, config: dict[str, Any]) -> None:
        self._next = None
        settings = TrialConfig.from_json(config["settings"])
        context = attach(self._data, settings, device=self._device, loader_workers=self._loader_workers, study=self._study)
        context = replace(context, on_batch=teller(context.folder))
        context.folder.path.mkdir(parents=True, exist_ok=True)
        self._claim = claim(context.folder.claim)
        if self._claim is None:
            log.warning("trial %s is being trained by another study", settings.trial_id)
            return
        with hearing() as heard:
            self._run = open_run(settings, context)
        self._said = heard.said()
        self._untold = self._run.record.epochs_done > 0

    def _close(self) -> None:
        if self._run is not None:
            self._run.folder.progress.unlink(missing_ok=True)
            self._run = None
        if self._claim is not None:
            self._claim.release()
            self._claim = None
        gc.collect()
        gc.freeze()  # what is left, the imports, is here to stay: without this every collection walks it for 0.17 s
        if self._device != "cpu":
            import torch

            torch.cuda.empty_cache()


def complete_remotely(
    root: str, prepared: str, trial_id: str, views: tuple[str, ...], device: str
) -> tuple[str | None, list[str]]:
    """Body of the Ray task that computes the missing views of one finished trial.

    Returns:
        The sentence about a full disk, if it met one; and what the driver should say.
    """
    data = prepared_for(root, prepared)
    with hearing() as heard:
        try:
            complete_trial(data, TrialFolder(data.paths.trials / trial_id), views, device=device)
        except OSError as error:
            if not is_full(error):
                raise
            return sentence(error), heard.said()
        except UserError as error:  # its weights are lost, or another driver's quota dropped them; an export says so again
            return None, [*heard.said(), str(error)]
    return None, heard.said()
