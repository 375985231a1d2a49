"""What was found about tokens: their categories with the evidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MOST_OTHERS = 8
"""Other tokens that one finding names."""


class Finding(NamedTuple):
    """One category of one token.

    Attributes:
        token: its id.
        category: a key of `reach.categories.catalogue`.
        detail: the evidence in words, which hold no token's text; none where the category says it all.
        others: ids of the tokens that the evidence is about, at most `MOST_OTHERS`.
        group: the number of its group, where the category is one of belonging together.
    """

    token: int
    category: str
    detail: str | None = None
    others: tuple[int, ...] = ()
    group: int | None = None


def by_token(findings: Iterable[Finding]) -> dict[int, list[Finding]]:
    """The findings of each token that has some."""
    found: dict[int, list[Finding]] = {}
    for one in findings:
        found.setdefault(one.token, []).append(one)
    return found
