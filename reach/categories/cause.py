"""What the tokens that cannot be said have in common: a sentence for the unspeakable, the tied and the undecided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from reach.categories.attributes import Attribute, bounded_attributes, prefix_attributes, text_attributes
from reach.categories.catalogue import CATALOGUE, KEYS, TITLES
from reach.categories.common import Common, explain
from reach.runs.columns import MISSING, NONE

if TYPE_CHECKING:
    from reach.verdicts import Verdicts

GROUPS = ("unspeakable", "tied", "undecided")
HARD = "hard-to-speak"
"""Asked about where there is none of the others."""
_MOST_GROUPS, _FEW = 24, 2


@dataclass(frozen=True)
class Cause:
    """What tokens of one verdict or class have in common.

    Attributes:
        of: the verdict or class.
        tokens: how many there are.
        parts: what they share, part by part; empty where nothing was found.
        rest: how many no part holds.
        sentence: all this in words, which hold no token's text.
    """

    of: str
    tokens: int
    parts: tuple[Common, ...]
    rest: int
    sentence: str

    def record(self) -> dict[str, Any]:
        """The same in plain types."""
        parts = [
            {
                "attributes": [one.key for one in part.attributes],
                "words": _joined(part.attributes),
                "inside": part.inside,
                "elsewhere": part.elsewhere,
                "others": part.others,
                "lift": part.lift,
            }
            for part in self.parts
        ]
        return {"of": self.of, "tokens": self.tokens, "sentence": self.sentence, "parts": parts, "rest": self.rest}


def causes(verdicts: Verdicts) -> tuple[Cause, ...]:
    """The causes of a run: of those of `GROUPS` that have tokens, else of the hard-to-speak; none without categories.

    Tokens that were not asked for count neither inside nor elsewhere.
    """
    if verdicts.categories is None:
        return ()
    names = [name for name in GROUPS if len(verdicts.ids(name))] or [HARD]
    token = np.flatnonzero(verdicts.verdict != NONE)
    found = []
    for name in names:
        group = np.isin(token, verdicts.ids(name))
        if group.any():
            found.append(_cause(verdicts, name, token, group))
    return tuple(found)


def _cause(verdicts: Verdicts, name: str, token: np.ndarray, group: Bool[np.ndarray, " n"]) -> Cause:
    number = int(group.sum())
    if number <= _FEW:
        words = "; ".join(_single(verdicts, int(one)) for one in token[group])
        return Cause(name, number, (), number, f"{number} {name}: {words}.")
    parts = explain(group, [one for one in _attributes(verdicts, token, group) if not _is_given(one, name)])
    rest = number - sum(part.inside for part in parts)
    return Cause(name, number, tuple(parts), rest, _sentence(name, number, parts, rest))


def _is_given(one: Attribute, name: str) -> bool:
    """Tied tokens are exact duplicates by definition."""
    return name == "tied" and one.key == "equal-row"


def _attributes(verdicts: Verdicts, token: np.ndarray, group: Bool[np.ndarray, " n"]) -> list[Attribute]:
    known = verdicts.categories
    assert known is not None
    found = []
    inside = np.zeros(len(verdicts), dtype=bool)
    inside[token[group]] = True
    for key, words in (("cluster", "near-equal"), ("bundle", "near-parallel")):
        for number, members in _groups_of(verdicts, key, inside):
            has = np.zeros(len(verdicts), dtype=bool)
            has[members] = True
            said = f"in one {key} of {len(members):,} {words} rows"
            found.append(Attribute(f"{key}:{number}", said, has[token], _MOST_GROUPS, says_why=True))
    for code, one in enumerate(CATALOGUE):
        has = np.zeros(len(verdicts), dtype=bool)
        has[known.token[known.category == code]] = True
        if has.any():
            found.append(Attribute(one.key, one.plural, has[token], says_why=True))
    texts = [verdicts.texts[one] for one in token.tolist()]
    found += bounded_attributes(verdicts.row_norm[token], token, group)
    found += text_attributes(texts)
    found += prefix_attributes(texts, group)
    return [one for one in found if one.has.any() and not one.has.all()]


def _groups_of(verdicts: Verdicts, key: str, inside: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The groups of a category that hold most of the tokens that are asked about: their numbers and members."""
    known = verdicts.categories
    assert known is not None
    here = (known.category == KEYS.index(key)) & (known.group != MISSING)
    token, group = known.token[here], known.group[here]
    numbers, counts = np.unique(group[inside[token]], return_counts=True)
    most = numbers[np.argsort(-counts, kind="stable")][:_MOST_GROUPS]
    return [(int(number), token[group == number]) for number in most]


def _single(verdicts: Verdicts, token: int) -> str:
    found = [
        TITLES[one.category] + (f" ({one.detail})" if one.detail else "") for one in verdicts.categories_of(token)
    ]
    return f"token {token}, {', '.join(found) if found else 'of which no category is known'}"


def _sentence(name: str, number: int, parts: list[Common], rest: int) -> str:
    if not parts:
        return f"{number:,} {name}: nothing that was looked at is much more frequent among them than elsewhere."
    words = []
    for at, part in enumerate(parts):
        who = (
            f"all {number:,}"
            if part.inside == number
            else f"{part.inside:,} of {number:,}"
            if not at
            else f"{part.inside:,}"
        )
        words.append(f"{who} are {_joined(part.attributes)} ({_elsewhere(part)})")
    if rest:
        words.append("the last one is not" if rest == 1 else f"nothing in common was found for the other {rest:,}")
    return f"{number:,} {name}: {'; '.join(words)}."


def _joined(attributes: tuple[Attribute, ...]) -> str:
    what = [one.words for one in attributes if not one.words.startswith("in ")]
    where = [one.words for one in attributes if one.words.startswith("in ")]
    return " ".join(part for part in (" and ".join(what), " and ".join(where)) if part)


def _elsewhere(part: Common) -> str:
    if not part.elsewhere:
        return f"none of the {part.others:,} others"
    share = 100 * part.elsewhere / part.others
    return f"as are {part.elsewhere:,} or {share:.2g} % of the {part.others:,} others"
