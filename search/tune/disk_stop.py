"""A full disk ends a run: whoever meets it in Tune's loop, or in a worker, says so here, and Tune stops all trials in good order.

Nothing is undone: what was not written was not acknowledged, and `--resume` asks, trains or journals it again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from system.disk import is_full, sentence

DISK_FULL = "full"
"""The key of a worker's last result that holds the sentence about a full disk."""


class DiskStop(tune.Stopper):  # type: ignore[misc]  # ray ships no types
    """Tune's stopper contract: asked after each result and in each turn of its loop.

    Attributes:
        reason: The first sentence about a full disk; `None` while there is room.
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if DISK_FULL in result:
            self.reason = self.reason or result[DISK_FULL]
        return self.reason is not None

    def stop_all(self) -> bool:
        return self.reason is not None

    @contextmanager
    def last_word(self) -> Iterator[None]:
        """For Tune's run as a whole: at its end it reads back a state of its own, and what a full disk cut short raises anything."""
        try:
            yield
        except Exception:
            if self.reason is None:
                raise

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn a full disk in this block into the end of the run; an error raised in Tune's loop would leave its trials hanging."""
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            self.reason = self.reason or sentence(error)
