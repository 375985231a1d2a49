"""Under which names the files of a model store what the live model calls otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from reach.heads.tensor_names import bare_path

LAST = "{last}"
"""Stands in a name for the number of the last of several layers."""
_OLD = {"weight": "gamma", "bias": "beta"}
"""What the first checkpoints call the factors and the shift of a norm."""


def stored_as(live: str, names: Iterable[str], renamed: Callable[[str], str] | None = None) -> tuple[str, ...]:
    """The stored names of a parameter.

    Args:
        live: its name in the live model, with `LAST` for the number of the last layer.
        names: those of the stored tensors.
        renamed: what transformers renames a stored name to when it loads it, or none where that is not known.

    Returns:
        The best match alone; none where nothing matches.
    """
    names = tuple(names)
    exact = _matches(live, names)
    if exact:
        return exact[-1:]
    if renamed is not None:
        found = tuple(name for name in names if re.fullmatch(_pattern(live), renamed(name)))
        if found:
            return (_last(live, found, renamed),)
    for form in (live, _in_old_words(live)):
        path = _bare(form)
        found = tuple(name for name in names if re.fullmatch(_pattern(path), _bare(name)))
        if found and (LAST in path or len(found) == 1):
            return (_last(path, found, _bare),)
    return ()


def _bare(name: str) -> str:
    return ".".join(bare_path(name))


def _matches(live: str, names: tuple[str, ...]) -> tuple[str, ...]:
    found = [name for name in names if re.fullmatch(_pattern(live), name)]
    return (_last(live, found, str),) if found else ()


def _pattern(live: str) -> str:
    return re.escape(live).replace(re.escape(LAST), r"(\d+)")


def _last(live: str, found: Iterable[str], as_live: Callable[[str], str]) -> str:
    """Of the same parameter in several layers the last one's."""

    def number(name: str) -> int:
        match = re.search(r"(\d+)", as_live(name)[len(live.split(LAST, maxsplit=1)[0]) :]) if LAST in live else None
        return int(match.group()) if match else 0

    return max(found, key=number)


def _in_old_words(live: str) -> str:
    head, _, tail = live.rpartition(".")
    return f"{head}.{_OLD.get(tail, tail)}"
