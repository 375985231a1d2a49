"""Categories that the matrix gives: rows that are zero, equal, nearly equal, or nearly parallel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int

from reach.categories.attributes import Attribute, text_attributes
from reach.categories.common import shared
from reach.categories.findings import MOST_OTHERS, Finding
from reach.categories.neighbourhood import Neighbourhood
from reach.equal_rows import Merged
from solvers.problem import ArgmaxProblem

LEAST = 3
"""Rows that make a cluster or a bundle."""
_DESCRIBED = 24
"""Groups of which it is looked at what their members share, the largest first."""
_ZERO = 1e-6


def equal_findings(problem: ArgmaxProblem, merged: Merged) -> Iterator[Finding]:
    """Rows of zeros, and rows that equal others, offset included."""
    norm = problem.row_norm.numpy()
    for token in np.flatnonzero(norm <= _ZERO * np.median(norm)).tolist():
        yield Finding(token, "zero-row", "exactly" if norm[token] == 0 else f"norm {norm[token]:.2g}")
    order = np.argsort(merged.first_of, kind="stable")
    first, starts = np.unique(merged.first_of[order], return_index=True)
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(order)], strict=True)):
        members = order[start:end].tolist()
        if len(members) < 2:
            continue
        few = members[: MOST_OTHERS + 1]
        words = f"{len(members):,} tokens have this row and offset"
        for token in members:
            others = tuple(other for other in few if other != token)[:MOST_OTHERS]
            yield Finding(token, "equal-row", words, others, int(first[number]))


def near_findings(merged: Merged, near: Neighbourhood, texts: list[str | None]) -> Iterator[Finding]:
    """Rows that nearly equal another, clusters of such rows, and bundles of near-parallel ones.

    Args:
        merged: the rows that were compared, one for each class of equal ones.
        near: how they hang together.
        texts: of every token of the vocabulary.
    """
    token_of, row_of = merged.token_of, merged.row_of
    for token in np.flatnonzero(near.nearest[row_of] >= 0).tolist():
        row = row_of[token]
        away = float(near.distance[row])
        words = f"{100 * away:.2g} % of its length from the mean row away" if away else "the same row, another offset"
        yield Finding(token, "near-duplicate", words, (int(token_of[near.nearest[row]]),))
    attributes = list(text_attributes(texts))
    least = "" if near.whole else "at least "
    for category, labels, what in (
        ("cluster", near.cluster[row_of], "near-equal rows"),
        ("bundle", near.bundle[row_of], f"rows linked by cosines from {near.cosine:.3g}, as seen from the mean row"),
    ):
        for at, members in enumerate(groups(labels, merged.row_of)):
            words = f"{least}{len(members):,} {what}"
            if at < _DESCRIBED:
                words += _shared_words(members, texts, attributes)
            for token in members.tolist():
                yield Finding(token, category, words, group=int(members[0]))


def groups(labels: Int[np.ndarray, " v"], row_of: Int[np.ndarray, " v"]) -> list[Int[np.ndarray, " k"]]:
    """The tokens of each group of at least `LEAST` different rows, the largest group first."""
    order = np.argsort(labels, kind="stable")
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(labels[order])) + 1, [len(order)]])
    large = np.flatnonzero(np.diff(bounds) >= LEAST)
    found = [order[first:last] for first, last in zip(bounds[large], bounds[large + 1], strict=True)]
    found = [part for part in found if len(np.unique(row_of[part])) >= LEAST]
    return sorted(found, key=lambda part: (-len(part), int(part[0])))


def _shared_words(members: np.ndarray, texts: list[str | None], attributes: Sequence[Attribute]) -> str:
    """What nearly all members have and few others do, and the ids that they lie between."""
    inside = np.zeros(len(texts), dtype=bool)
    inside[members] = True
    found = [f"nearly all {one.words}" for one in shared(inside, attributes)]
    size = _common_prefix([texts[token] for token in members.tolist()])
    if size >= 2:
        found.append(f"all texts begin with the same {size} characters")
    low, high = int(members.min()), int(members.max())
    if high - low + 1 == len(members):
        found.append(f"all ids from {low} to {high}")
    return f"; {', '.join(found)}" if found else ""


def _common_prefix(texts: list[str | None]) -> int:
    some = [text or "" for text in texts]
    low, high = min(some), max(some)
    return next(
        (at for at, (one, two) in enumerate(zip(low, high, strict=False)) if one != two), min(len(low), len(high))
    )
