"""What every verb shares: its flags, its exit codes, and one JSON document or a few lines for people on stdout.

Exit 0 done; 2 the user's input is wrong (all faults, no traceback); 130 after Ctrl-C; 1 anything else.
"""

import argparse
import io
import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any, TextIO

from system.disk import is_full, sentence
from system.errors import UserError

DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes look like every other wrong input."""

    def error(self, message: str) -> Any:
        raise UserError(f"{message}; {self.prog} --help shows what it takes")


def parser(description: str, example: str) -> Parser:
    """A parser with the flags that every verb has."""
    made = Parser(description=description, epilog=f"example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--storage", metavar="DIR", help="where everything is kept (default: PODIUM_STORAGE, else ./runs)")
    made.add_argument("--json", action="store_true", help="print exactly one JSON document on stdout")
    return made


def run(
    made: Parser, call: Callable[[argparse.Namespace], Any], show: Callable[[Any], object], arguments: Sequence[str] | None = None
) -> int:
    """Parse, call, print.

    Args:
        made: The verb's parser.
        call: Does the work and returns a JSON value.
        show: Prints that value for people.
        arguments: The command line; this process's own for `None`.

    Returns:
        The exit code.
    """
    _print_whatever_comes(sys.stdout)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("podium").setLevel(logging.INFO)
    try:
        given = made.parse_args(arguments)
        with redirect_stdout(sys.stderr):  # what libraries print on the way (Ray does) is no part of the answer
            value = call(given)
        if given.json:
            json.dump(value, sys.stdout, indent=1, ensure_ascii=not _takes_every_sign(sys.stdout), allow_nan=False)
            sys.stdout.write("\n")
        else:
            show(value)
    except UserError as error:
        for fault in error.faults:
            print(f"{made.prog}: {fault}", file=sys.stderr)
        return USER_ERROR
    except InterruptedWorkError as error:
        print(f"{made.prog}: {error}", file=sys.stderr)
        return INTERRUPTED
    except FailedWorkError as error:
        print(f"{made.prog}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"{made.prog}: interrupted; what was finished is kept, the same command goes on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return DONE
    except OSError as error:
        if not is_full(error):
            raise
        print(
            f"{made.prog}: {sentence(error)}; free some space there (docs/storage.md), the same command goes on", file=sys.stderr
        )
        return FAILED
    return DONE


def _print_whatever_comes(stream: TextIO) -> None:
    """A sign that a terminal cannot show, or no text at all (a file name of another time), is printed as its number."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _takes_every_sign(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().replace("-", "") == "utf8"


class FailedWorkError(Exception):
    """Long work came to nothing; the message says why and what to do."""


class InterruptedWorkError(Exception):
    """Ctrl-C ended long work; the message says how to go on."""


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Rows as left-aligned columns; numbers are right-aligned."""
    texts = [list(header), *([_cell(value) for value in row] for row in rows)]
    numeric = [
        bool(rows) and all(isinstance(row[column], (int, float, type(None))) for row in rows) for column in range(len(header))
    ]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width) for text, width, right in zip(row, widths, numeric, strict=True)
        )
        for row in texts
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
