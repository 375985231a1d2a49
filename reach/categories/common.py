"""What a group of tokens has in common, told by how much more often it occurs there than elsewhere.

An attribute that all tokens have explains nothing, and among many that are tried one will fit by chance. So each is
weighed by the likelihood ratio G² of its two-by-two table (attribute or not, in the group or not). It is kept only if
it is at least twice as frequent in the group as elsewhere, and a group drawn at random would show it so often with a
probability below one in ten thousand, divided by the number of attributes and pairs that were tried. Attributes that
may say why come before those that only describe, and those that hold for nearly all of the group before others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy.special import xlogy
from scipy.stats import hypergeom

from reach.categories.attributes import Attribute

_SURE = 1e-4
_LEAST_SHARE, _LEAST = 0.1, 3
"""An explanation holds for at least so much of what is to be explained, and so many tokens."""
_RATIO = 2.0
_MOST_TOGETHER, _MOST_PARTS = 3, 3
_SHARPER = 0.8
"""A further attribute is added where it leaves at most so much of the tokens elsewhere that have the others."""
_KEEPS = 0.95
_NEARLY_ALL, _MOST = 0.9, 0.5


@dataclass(frozen=True)
class Common:
    """Attributes that part of a group shares.

    Attributes:
        attributes: what they all have.
        inside: how many of the group that was to be explained have all of these.
        group: how many that was.
        elsewhere: how many of the other tokens have them too.
        others: how many others there are.
    """

    attributes: tuple[Attribute, ...]
    inside: int
    group: int
    elsewhere: int
    others: int

    @property
    def share(self) -> float:
        """Of the group."""
        return self.inside / self.group

    @property
    def lift(self) -> float:
        """How many times more frequent it is in the group than in all tokens."""
        everywhere = (self.inside + self.elsewhere) / (self.group + self.others)
        return self.share / everywhere if everywhere else 1.0


def explain(group: Bool[np.ndarray, " n"], attributes: Sequence[Attribute]) -> list[Common]:
    """The explanations of a group, the first that of most, each next one of what is left; empty where none holds."""
    found: list[Common] = []
    left, least = group.copy(), max(_LEAST, _LEAST_SHARE * int(group.sum()))
    tries = len(attributes) ** 2
    while len(found) < _MOST_PARTS and left.sum() >= least:
        best = _best(left, ~group, attributes, tries, least)
        if best is None:
            break
        found.append(best)
        has = np.logical_and.reduce([one.has for one in best.attributes])
        left &= ~has
    return found


def _best(
    left: Bool[np.ndarray, " n"], others: Bool[np.ndarray, " n"], attributes: Sequence[Attribute], tries: int,
    least: float,
) -> Common | None:  # fmt: skip
    chosen: tuple[Attribute, ...] = ()
    best: Common | None = None
    while len(chosen) < _MOST_TOGETHER:
        wider = [_measured((*chosen, one), left, others) for one in attributes if one not in chosen]
        candidates = [one for one in wider if _holds(one, tries, least) and _adds(one, best)]
        if not candidates:
            break
        best = (
            max(candidates, key=lambda one: (_rank(one), _weight(one)))
            if best is None
            else max(candidates, key=_weight)
        )
        chosen = best.attributes
    return best


def _rank(one: Common) -> int:
    why = one.attributes[0].says_why
    tiers = (why and one.share >= _NEARLY_ALL, why and one.share >= _MOST, one.share >= _NEARLY_ALL)
    return next((len(tiers) - at for at, holds in enumerate(tiers) if holds), 0)


def _measured(chosen: tuple[Attribute, ...], left: np.ndarray, others: np.ndarray) -> Common:
    has = np.logical_and.reduce([one.has for one in chosen])
    return Common(chosen, int((has & left).sum()), int(left.sum()), int((has & others).sum()), int(others.sum()))


def _holds(one: Common, tries: int, least: float) -> bool:
    if one.inside < least or one.share * one.others < _RATIO * one.elsewhere:
        return False
    total, having = one.group + one.others, one.inside + one.elsewhere
    chosen_among = tries * max(attribute.tries for attribute in one.attributes)
    return bool(hypergeom.sf(one.inside - 1, total, having, one.group) * chosen_among <= _SURE)


def _adds(one: Common, best: Common | None) -> bool:
    return best is None or (
        one.inside >= _KEEPS * best.inside
        and one.elsewhere <= _SHARPER * best.elsewhere
        and _weight(one) > _weight(best)
    )


def _weight(one: Common) -> float:
    """G² of the two-by-two table: twice the log of how much likelier it is if the shares differ than if not."""
    table = np.array([[one.inside, one.group - one.inside], [one.elsewhere, one.others - one.elsewhere]], dtype=float)
    total = table.sum()
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / total
    return float(2 * (xlogy(table, table) - xlogy(table, np.where(expected > 0, expected, 1))).sum())


def shared(group: Bool[np.ndarray, " n"], attributes: Sequence[Attribute]) -> tuple[Attribute, ...]:
    """What nearly all of a group have and few others do; for the evidence of one group among many."""
    found = _best(group, ~group, attributes, len(attributes) ** 2, 0.9 * int(group.sum()))
    return () if found is None else found.attributes
