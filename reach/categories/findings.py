"""What was found about tokens: their categories with the evidence."""

from __future__ import annotations

from typing import Any, NamedTuple

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

    @property
    def words(self) -> str:
        """The finding on one line: the category's key, the evidence, and the ids of the tokens that it is about."""
        ids = f" ({', '.join(f'#{other}' for other in self.others)})" if self.others else ""
        return f"{self.category}: {self.detail}{ids}" if self.detail else f"{self.category}{ids}"

    def record(self) -> dict[str, Any]:
        """The same in plain types, but for the token."""
        return {"category": self.category, "detail": self.detail, "others": list(self.others), "group": self.group}
