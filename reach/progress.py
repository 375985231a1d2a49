"""How far a long piece of work is: a callback, and the bars that a terminal gets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

Progress = Callable[[str, int, int], object]
"""Told what is being worked on, how many are done, and of how many. Counts of one piece of work only rise."""


_hushed: ContextVar[bool] = ContextVar("hushed", default=False)


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""
    del what, done, total


@contextmanager
def bars(*, quiet: bool = False, unit: str = "row") -> Iterator[Progress]:
    """Progress bars on stderr, one after the other; none where `quiet`. Counts of the unit B are shown as MB, GB."""
    if quiet or _hushed.get():
        yield silent
        return
    shown: list[tqdm] = []

    def show(what: str, done: int, total: int) -> None:
        if shown and (shown[0].desc.removesuffix(": ") != what or shown[0].total != total):
            shown.pop().close()
        if not shown:
            shown.append(
                tqdm(
                    total=total,
                    desc=what,
                    unit=unit,
                    unit_scale=unit == "B",
                    dynamic_ncols=True,
                    delay=0.1 if done == 0 else 0,
                )
            )
        shown[0].update(done - shown[0].n)

    try:
        yield show
    finally:
        for bar in shown:
            bar.close()


@contextmanager
def hushed(*, quiet: bool) -> Iterator[None]:
    """Within this block, where `quiet`, nothing shows bars, not even what cannot be told so."""
    before = _hushed.set(quiet or _hushed.get())
    try:
        yield
    finally:
        _hushed.reset(before)


def in_a_terminal() -> bool:
    """Whether somebody would see a bar."""
    return sys.stderr.isatty()
