"""The classes that tokens fall into, and how many have changed theirs from one judgement to another.

A class is a verdict; speakable tokens are divided into own-direction and hard-to-speak ones. All counts of changes,
wherever they are shown, come from one matrix of classes, so that they add up to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from reach.runs.schema import VERDICT_NAMES

CLASSES = ("own-direction", "hard-to-speak", "tied", "unspeakable", "undecided", "not asked for")
OWN, HARD, NOT_ASKED = 0, 1, 5
_VERDICT_OF = np.array([0, 0, 1, 2, 3, 4])


def classes_of(verdict: Int[np.ndarray, " n"], own_direction: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The index into `CLASSES` of each token.

    Args:
        verdict: `(n,)` indices into `VERDICT_NAMES`; any other number for a token that was not asked for.
        own_direction: `(n,)` whether a win along the token's own row was proved.
    """
    verdict = verdict.astype(np.int64)
    asked = (verdict >= 0) & (verdict < len(VERDICT_NAMES))
    found = np.where(asked, verdict + 1, NOT_ASKED)
    return np.where(asked & (verdict == 0), np.where(own_direction, OWN, HARD), found)


@dataclass(frozen=True)
class ClassChanges:
    """How many tokens of each class are of which class afterwards.

    Attributes:
        matrix: `(6, 6)` counts: `matrix[i, j]` tokens were of `CLASSES[i]` and are of `CLASSES[j]`.
    """

    matrix: Int[np.ndarray, "6 6"]

    @property
    def compared(self) -> int:
        """All tokens."""
        return int(self.matrix.sum())

    @property
    def changed(self) -> int:
        """Tokens of another class: the sum of the matrix off its diagonal. It is that of the three counts below."""
        return self.compared - int(np.trace(self.matrix))

    @property
    def verdict_changed(self) -> int:
        """Tokens that have a verdict on both sides, and not the same."""
        asked = self.matrix[:NOT_ASKED, :NOT_ASKED]
        of = _VERDICT_OF[:NOT_ASKED]
        return int(asked[of[:, None] != of[None, :]].sum())

    @property
    def way_changed(self) -> int:
        """Tokens that moved between own-direction and hard-to-speak."""
        return int(self.matrix[OWN, HARD] + self.matrix[HARD, OWN])

    @property
    def asked_once(self) -> int:
        """Tokens that one side was asked about and the other was not."""
        return int(
            self.matrix[NOT_ASKED].sum() + self.matrix[:, NOT_ASKED].sum() - 2 * self.matrix[NOT_ASKED, NOT_ASKED]
        )

    @property
    def words(self) -> str:
        """One sentence with all the counts."""
        if not self.changed:
            return "All are in the same class."
        none = "none of them has" if self.changed > 1 else "it has not"
        some = f"{self.verdict_changed:,} of them {_has(self.verdict_changed)}" if self.changed > 1 else "it has"
        parts = [f"{some if self.verdict_changed else none} another verdict"]
        if self.way_changed:
            parts.append(f"{self.way_changed:,} moved between own-direction and hard-to-speak")
        if self.asked_once:
            parts.append(f"{self.asked_once:,} {_was(self.asked_once)} asked for on one side only")
        return f"{self.changed:,} {'is' if self.changed == 1 else 'are'} in another class: {', '.join(parts)}."

    def other_verdict(self, before: int, after: int) -> bool:
        """Whether tokens of the one class have another verdict in the other (indices into `CLASSES`)."""
        return NOT_ASKED not in (before, after) and _VERDICT_OF[before] != _VERDICT_OF[after]

    def cells(self) -> list[tuple[str, str, int]]:
        """The changes class by class: before, after and how many tokens, the most first."""
        cells = [
            (CLASSES[i], CLASSES[j], int(self.matrix[i, j]))
            for i in range(len(CLASSES))
            for j in range(len(CLASSES))
            if i != j and self.matrix[i, j]
        ]
        return sorted(cells, key=lambda cell: -cell[2])

    def record(self) -> dict[str, Any]:
        """For programs."""
        return {
            "compared": self.compared,
            "changed": self.changed,
            "verdict_changed": self.verdict_changed,
            "way_changed": self.way_changed,
            "asked_once": self.asked_once,
            "classes": list(CLASSES),
            "matrix": self.matrix.tolist(),
        }


def class_changes(before: Int[np.ndarray, " n"], after: Int[np.ndarray, " n"]) -> ClassChanges:
    """Hold the classes of the same tokens against each other (indices into `CLASSES`)."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(matrix, (before, after), 1)
    return ClassChanges(matrix)


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
