"""Trials that somebody else trains: watched until they have ended, or their claims fall free and the rest is ours.

A study takes other suggestions meanwhile. Nothing here waits: a holder of another machine is dead when its claim has stood still for
`PATIENCE_S` between two looks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ledger.reading import readable_record
from ledger.studies import Suggestion
from ledger.trials import TrialFolder
from system.claims import Holder, gone, holder

PATIENCE_S = 5.0
LOOK_S = 1.0
"""Tune asks ten times a second; files of other machines are looked at once."""
Clock = Callable[[], float]


@dataclass
class Watched:
    """One trial of another study.

    Attributes:
        number: Of its trial in our Optuna study, where it runs until it is known what came of it.
        seen: Its claim at the last look.
        since: When that claim was first seen as it is.
    """

    suggestion: Suggestion
    number: int
    seen: Holder | None
    since: float


class ForeignTrials:
    """All of them, oldest first."""

    def __init__(self, trials: Path, clock: Clock = time.monotonic) -> None:
        """`trials` is the ledger's folder of trials."""
        self._trials, self._clock = trials, clock
        self._watched: dict[str, Watched] = {}
        self._looked = float("-inf")

    def __len__(self) -> int:
        return len(self._watched)

    def ids(self) -> list[str]:
        return list(self._watched)

    def add(self, suggestion: Suggestion, number: int) -> None:
        """From now on watch this one."""
        self._watched[suggestion.trial_id] = Watched(suggestion, number, None, self._clock())

    def look(self) -> list[tuple[Watched, Literal["ended", "free"]]]:
        """Those that have ended, or that nobody trains any more; they are watched no longer. Nothing between two looks."""
        now = self._clock()
        if now - self._looked < LOOK_S:
            return []
        self._looked = now
        free_or_ended = [
            (watched, state) for watched in self._watched.values() if (state := self._state(watched, now)) is not None
        ]
        for watched, _ in free_or_ended:
            del self._watched[watched.suggestion.trial_id]
        return free_or_ended

    def _state(self, watched: Watched, now: float) -> Literal["ended", "free"] | None:
        folder = TrialFolder(self._trials / watched.suggestion.trial_id)
        seen = holder(folder.claim)  # before the record: whoever lets go has written it
        record = readable_record(folder)
        if record is not None and record.ended:
            return "ended"
        if seen is None or gone(seen):
            return "free"
        if seen != watched.seen:
            watched.seen, watched.since = seen, now
        return "free" if now - watched.since > max(PATIENCE_S, 3 * seen.beat) else None
