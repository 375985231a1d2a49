"""What a command says, and where: the result on stdout, everything beside it on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer

from reach.names import named, with_names, without_credentials
from reach.terminal import harmless
from solvers.errors import BadInput

T = TypeVar("T")
_LONGEST = 1000  # characters of a complaint, which may name what somebody else has written

EXIT_CONDITION, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def say(*lines: str) -> None:
    """Print lines to stdout, whatever the terminal can encode, and nothing that could disturb it."""
    _write("\n".join(harmless(with_names(line)) for line in lines))


def say_json(record: Any) -> None:
    """Print a record as JSON, whose writer leaves nothing but ASCII."""
    _write(json.dumps(named(record), indent=1, default=str))


def say_text(text: str) -> None:
    """Print a text as it is, for a file or another program; a terminal gets nothing that could disturb it."""
    text = with_names(text)
    _write("\n".join(map(harmless, text.splitlines())) + "\n" if sys.stdout.isatty() else text, end="")


def note(text: str) -> None:
    """One line beside the result, on stderr."""
    beside(f"note: {text}")


def beside(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"reach: {harmless(without_credentials(with_names(text)))}\n")


def complain(message: str) -> NoReturn:
    """One line on stderr, and the exit code of bad input."""
    line = " ".join(message.split())
    beside(line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}")
    raise SystemExit(EXIT_BAD_INPUT) from None


@contextmanager
def speaking(verbose: bool) -> Iterator[None]:
    """Within this block what the project warns of is a note on stderr at once, whatever it is busy with.

    If that is asked for, all else that it logs goes there too, with its seconds.
    """
    logger, notes, before = logging.getLogger("reach"), _Notes(logging.WARNING), logging.getLogger("reach").level
    handler, began = logging.StreamHandler(sys.stderr), time.time()
    handler.setFormatter(_Named("reach: %(message)s"))
    handler.addFilter(lambda record: record.levelno < logging.WARNING and _timed(record, began))
    logger.addHandler(notes)
    if verbose:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(notes)
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Notes(logging.Handler):
    """Says warnings as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


class _Named(logging.Formatter):
    """Lines in which folders have the names that a person gave them."""

    def format(self, record: logging.LogRecord) -> str:
        return without_credentials(with_names(super().format(record)))


def _timed(record: logging.LogRecord, began: float) -> bool:
    record.msg = f"{record.created - began:.2f} s: {record.msg}"
    return True


def page_of(write: Callable[..., Path] | None, run: Path) -> tuple[str | None, BadInput | None]:
    """Write the page of what has just been done, if there is to be one: its place, or why it is not there."""
    if write is None:
        return None, None
    page, fault = pages_of(lambda again: write(run, again=again), run)
    return None if page is None else str(page), fault


def pages_of(write: Callable[[str], T], run: Path) -> tuple[T | None, BadInput | None]:
    """Write pages of a run; where that fails the run is finished all the same, and its result is to be said first."""
    from reach.runs.atomic import write_page_of

    try:
        return write(write_page_of(run)), None
    except BadInput as fault:
        return None, fault


def _write(text: str, end: str = "\n") -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        typer.echo((text + end).encode(encoding, errors="backslashreplace").decode(encoding), nl=False)
    except OSError as error:
        # What is left goes nowhere: Python would try again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # of a reader that has seen enough (`| head`)
            from reach.runs.atomic import RUN_AGAIN, why_unwritable

            raise BadInput(f"standard output: cannot be written: {why_unwritable(error, RUN_AGAIN)}") from None
