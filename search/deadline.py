"""The deadline of a search: `--hours`, counted from the command's start, and for a run that was cut off the time that it was alive.

A run says in its study's events how many hours it has and how many seconds of them were used before it. One that was killed says no
more; how often its lease was renewed tells how long it lived. The same `--hours` said again goes on with that clock, another starts anew.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledger.studies import StudyFolder
from system.claims import holder

SLACK, SLACK_S = 0.1, 20.0
"""An end that is later than the deadline by this part of the hours and these seconds still counts as in time."""
CLOCK = "clock"
"""The event that says how much of its hours a run has used, and whether they are over."""


@dataclass(frozen=True)
class Deadline:
    """When a search ends.

    Attributes:
        hours: As they were asked for.
        used: Seconds of them that earlier runs were alive.
        begun: When this command began, of `time.monotonic`.
    """

    hours: float
    used: float
    begun: float

    @property
    def total(self) -> float:
        """All of its seconds."""
        return self.hours * 3600

    @property
    def end(self) -> float:
        """Of `time.monotonic`."""
        return self.begun + self.total - self.used

    @property
    def left(self) -> float:
        """Seconds from now."""
        return self.end - time.monotonic()

    @property
    def slack(self) -> float:
        """How many seconds later than the deadline is still in time."""
        return SLACK * self.total + SLACK_S

    def log(self, study: StudyFolder, *, over: bool = False) -> None:
        """Write down how much is used by now; `over` where nothing is to go on with this clock."""
        study.log(CLOCK, hours=self.hours, used=round(self.total - self.left, 1), over=over)


def deadline_of(study: StudyFolder, hours: float | None, begun: float) -> Deadline | None:
    """The deadline of a run that begins; `None` without one. Call it before the study's lease is taken.

    Args:
        study: The study, which may be new.
        hours: As they are asked for.
        begun: When the command began.
    """
    return None if hours is None else Deadline(hours, _used(study, hours), begun)


def _used(study: StudyFolder, hours: float) -> float:
    """Seconds that a run with the same hours was alive before it was cut off."""
    clocks: list[dict[str, Any]] = [event for event in study.events() if event["event"] == CLOCK]
    if not clocks or clocks[-1]["over"] or clocks[-1]["hours"] != hours:
        return 0.0
    left_over = holder(study.lease)
    alive = max(0.0, left_over.counter * left_over.beat) if left_over is not None else 0.0
    return min(float(clocks[-1]["used"]) + alive, hours * 3600)


class TrialsEnd:
    """Whether trials are to end now, so that what comes after them is done by the deadline; once they are, it stays so."""

    def __init__(self, deadline: Deadline, reserve: Callable[[], float], answered: Callable[[], bool]) -> None:
        """See the class.

        Args:
            deadline: Of the search.
            reserve: How many seconds are set aside for what comes after.
            answered: Whether there is something to hand in; where not, trials go on into the time that is set aside, as far as the
                deadline's slack allows.
        """
        self._deadline, self._reserve, self._answered = deadline, reserve, answered
        self._over = False

    def __call__(self) -> bool:
        left, reserve = self._deadline.left, self._reserve()
        if not self._over and left <= reserve:
            self._over = left <= max(0.0, reserve - self._deadline.slack) or self._answered()
        return self._over


def spoken(seconds: float) -> str:
    """A time as people say it.

    >>> spoken(2460), spoken(75), spoken(1), spoken(3 * 3600 + 120)
    ('41 minutes', '75 seconds', '1 second', '3 hours 2 minutes')
    """
    if seconds < 100:
        n = max(0, round(seconds))
        return f"{n} second{'' if n == 1 else 's'}"
    hours, minutes = divmod(round(seconds / 60), 60)
    told = [f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in ((hours, "hour"), (minutes, "minute")) if n]
    return " ".join(told)
