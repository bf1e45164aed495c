"""What a search says while it runs. On a terminal its line redraws itself, in a log it speaks now and then."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from system.disk import bytes_text

QUIET_S = 15.0
REDRAW_S = 0.2
SHOWN_RUNNING = 4
"""So many of the trials that run are shown with their epoch."""


@dataclass(frozen=True)
class Running:
    """A trial that runs now.

    Attributes:
        epoch: The epoch in training, from 1.
        epochs: How many it will train.
        share: How much of this epoch is done, 0 to 1.
        epoch_seconds: What a whole epoch takes, as far as it is known; 0 where it is not.
        memory: Bytes in memory; 0 where unknown.
    """

    epoch: int
    epochs: int
    share: float
    epoch_seconds: float
    memory: int

    @property
    def done(self) -> float:
        """How much of the trial is done, 0 to 1."""
        return (self.epoch - 1 + self.share) / self.epochs

    def __str__(self) -> str:
        """
        >>> print(Running(3, 8, 0.45, 12.3, 1_200_000_000))
        epoch 3/8 45% (12 s each, 1.2 GB)
        """
        facts = [f"{self.epoch_seconds:.0f} s each"] * (self.epoch_seconds >= 1) + [bytes_text(self.memory)] * bool(self.memory)
        return f"epoch {self.epoch}/{self.epochs} {self.share:.0%}" + (f" ({', '.join(facts)})" if facts else "")


class StatusLine:
    """Tells how far a search is.

    Args:
        total: Trials that the search will train.
        targets: Target names in order.
        stream: Where to; standard error.
    """

    def __init__(self, total: int, targets: list[str], stream: TextIO | None = None) -> None:
        self._total, self._stream = total, stream or sys.stderr
        self._best: dict[str, float | None] = dict.fromkeys(targets)
        self._started = self._shown = time.monotonic()
        self._progress: dict[str, float] = {}
        self._running: dict[str, Running] = {}
        self._done = 0
        self._note = ""

    def expect(self, total: int) -> None:
        """So many trials will be trained."""
        self._total = total

    def note(self, text: str) -> None:
        """What the search waits for; an empty text when it goes on."""
        self._note = text
        self.show()

    def epoch(self, trial: str, target: str, share: float, score: float) -> None:
        """A trial reported: `share` of its planned epochs is done and its best score is `score`."""
        self._progress[trial] = share
        best = self._best[target]
        if score > float("-inf") and (best is None or score > best):
            self._best[target] = score
            if best is not None:
                self._say(f"new best of {target}: {score:.4f}, {score - best:+.4f} (trial {trial})")
        self.show()

    def ended(self, trial: str) -> None:
        """A trial ended, for whatever reason."""
        self._progress.pop(trial, None)
        self._running.pop(trial, None)
        self._done += 1
        self.show()

    @property
    def due(self) -> bool:
        """Whether it is time for the next line, so that it pays to look how far the trials are."""
        return time.monotonic() - self._shown >= (REDRAW_S if self._stream.isatty() else QUIET_S)

    def look(self, running: Mapping[str, Running]) -> None:
        """These trials run now, by trial id."""
        self._running = dict(running)
        self.show()

    def show(self, *, force: bool = False) -> None:
        """Print the line when it is time to."""
        now, terminal = time.monotonic(), self._stream.isatty()
        if not (force or self.due):
            return
        self._shown = now
        self._stream.write(f"\r\x1b[K{self.text(now)}" if terminal else self.text(now) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Show the last state and leave the line."""
        self.show(force=True)
        if self._stream.isatty():
            self._stream.write("\n")

    def text(self, now: float) -> str:
        """The line itself."""
        best = "  ".join(f"{target} {'-' if score is None else f'{score:.3f}'}" for target, score in self._best.items())
        note = f"  {self._note}" if self._note else ""
        shown = [str(one) for one in self._running.values()][:SHOWN_RUNNING]
        running = f"running {len(self._progress.keys() | self._running.keys())}" + (f": {'; '.join(shown)}" if shown else "")
        return f"trials {self._done}/{self._total}  {running}  best: {best}  {self._left(now)}{note}"

    def _say(self, text: str) -> None:
        """A line of its own, above the status line."""
        self._stream.write(f"\r\x1b[K{text}\n" if self._stream.isatty() else text + "\n")
        self._stream.flush()

    def _left(self, now: float) -> str:
        shares = {**self._progress, **{trial: one.done for trial, one in self._running.items()}}
        work, spent = self._done + sum(shares.values()), now - self._started
        if work < 0.1:
            return f"{clock(spent)} so far"
        return f"{clock(spent)} so far, about {clock(spent / work * max(0.0, self._total - work))} left"


def clock(seconds: float) -> str:
    """`0:07`, `12:40`, `1:02:03`."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Counting:
    """A progress callback `(done, total)` that shows how far something is, with the time left.

    Args:
        what: E.g. `decoding photos`.
        stream: Where to; standard error.
    """

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what, self._stream = what, stream or sys.stderr
        self._started = self._shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now, terminal = time.monotonic(), self._stream.isatty()
        last = done >= total
        quick = last and not terminal and now - self._started < QUIET_S
        if quick or (not last and now - self._shown < (REDRAW_S if terminal else QUIET_S)):
            return
        self._shown = now
        left = clock((now - self._started) / max(1, done) * (total - done))
        text = f"{self._what} {done}/{total}, about {left} left"
        self._stream.write((f"\r\x1b[K{text}" + ("\n" if last else "")) if terminal else text + "\n")
        self._stream.flush()
