"""What a process far from the user's terminal says about damage: kept, so that it can be sent along with the result of its work."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Hearing(logging.Handler):
    """Keeps the warnings of the ledger (`podium.ledger`) until they are asked for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())

    def said(self) -> list[str]:
        """What was said since this was asked last."""
        told, self._said = self._said, []
        return told


@contextmanager
def hearing() -> Iterator[Hearing]:
    """A hearing for the time of a block."""
    log, handler = logging.getLogger("podium.ledger"), Hearing()
    log.addHandler(handler)
    try:
        yield handler
    finally:
        log.removeHandler(handler)
