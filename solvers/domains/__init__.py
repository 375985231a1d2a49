"""The sets that the point z of an argmax problem may range over: one file each, and the registry of their words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from solvers.domains.ball import Ball
from solvers.domains.ball_box import BallBox
from solvers.domains.base import Arrays, Domain, Shape
from solvers.domains.box import Box
from solvers.domains.ellipsoid import Ellipsoid
from solvers.domains.free import Free
from solvers.domains.region import Region
from solvers.errors import BadInput

__all__ = [
    "DOMAINS",
    "Ball",
    "BallBox",
    "Box",
    "Domain",
    "Ellipsoid",
    "Free",
    "Region",
    "Shape",
    "forms",
    "parse",
    "spoken",
]

DOMAINS: dict[str, type[Domain]] = {kind.word: kind for kind in (Free, Ball, Box, Ellipsoid, BallBox)}
"""Every kind of domain by its word: the one place where they are listed."""


def no_files(name: str) -> Mapping[str, np.ndarray]:
    """What reads the files of a domain where none may be read."""
    raise BadInput(f"the file {name} is not read here")


def parse(text: str, d: int, arrays: Arrays = no_files) -> Domain:
    """A domain from the words of the command line, such as `free`, `ball:8`, `ball:sqrt(384)` or `box:-1,1`.

    Args:
        text: the words.
        d: number of coordinates.
        arrays: reads the arrays of a file that the words name.

    Raises:
        BadInput: the numbers make no domain, or the words are none that is known.
    """
    word, _, numbers = text.strip().partition(":")
    try:
        return DOMAINS[word].parse(numbers, d, arrays)
    except BadInput as error:
        raise BadInput(f"{text}: {error}") from None
    except (KeyError, ValueError, OverflowError):
        raise BadInput(f"{text}: write {forms()}") from None


def forms() -> str:
    """How domains are written on the command line, for a person."""
    known = [kind.form for kind in DOMAINS.values()]
    return f"{', '.join(known[:-1])} or {known[-1]}"


def spoken(words: str) -> str | None:
    """A domain's words (`Domain.describe`) for a person, after "over"; none for words of no domain."""
    word, _, numbers = words.partition(":")
    return DOMAINS[word].spoken(numbers) if word in DOMAINS else None
