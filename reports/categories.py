"""What the tokens of a scan are, for a reader: the causes in a sentence each, and the categories with counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec import UNSET

from reach.categories.catalogue import CATALOGUE
from reach.verdicts import Verdicts
from reports import plain


@dataclass(frozen=True)
class CategoryRow:
    """One category: how many tokens have it, and how many of these are unspeakable."""

    key: str
    title: str
    tokens: str
    unspeakable: str
    meaning: str


@dataclass(frozen=True)
class CategoriesView:
    """What the page says of categories; all of it empty where the run does not say."""

    causes: tuple[str, ...] = ()
    rows: tuple[CategoryRow, ...] = ()
    notes: tuple[str, ...] = ()


def categories_view(tokens: Verdicts) -> CategoriesView:
    """The categories of a scan."""
    known = tokens.categories
    if known is None:
        return CategoriesView()
    never = np.isin(known.token, tokens.unspeakable)
    counts, silent = (np.bincount(known.category[which], minlength=len(CATALOGUE)) for which in (..., never))
    rows = [
        CategoryRow(one.key, one.title, f"{counts[code]:,}", f"{silent[code]:,}", one.meaning)
        for code, one in enumerate(CATALOGUE)
        if counts[code]
    ]
    about = tokens.manifest.categories
    notes = () if about is UNSET else tuple(f"{plain.text(note)}." for note in about.notes)
    return CategoriesView(tuple(cause.sentence for cause in tokens.causes), tuple(rows), notes)
