"""The categories that a token can have, each with its name for a person and what it says."""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """A category.

    Attributes:
        key: its name in files.
        title: its name for a person.
        plural: what several tokens of it are, after "are".
        meaning: what it says, in one sentence.
    """

    key: str
    title: str
    plural: str
    meaning: str


CATALOGUE = (
    Category(
        "special", "special", "special tokens",
        "Ends, begins, pads or marks up a text, as configuration, chat template or tokenizer say.",
    ),
    Category("added", "added", "added tokens", "Literal text that was added to the tokenizer's vocabulary."),
    Category(
        "byte", "byte", "byte tokens",
        "Stands for a single byte that is no printable ASCII character, or that is written as one, such as <0x41>.",
    ),
    Category("partial-utf8", "partial UTF-8", "tokens of partial UTF-8", "Its bytes are no whole characters."),
    Category(
        "control", "control", "control characters",
        "Its text holds nothing but control and format characters.",
    ),
    Category("reserved", "reserved", "reserved tokens", "Its name, or the vocabulary's own mark, says unused."),
    Category("padding", "padding row", "padding rows, which have no token", "The tokenizer has no entry for it."),
    Category(
        "unreachable", "not reached", "tokens that the tokenizer was not seen to make of any text",
        "Its text is encoded as other tokens, alone and beside other characters.",
    ),
    Category("zero-row", "row of zeros", "rows of zeros", "Its row is zero, or next to nothing."),
    Category("equal-row", "duplicate", "exact duplicates of other rows", "Others have its row and offset."),
    Category(
        "near-duplicate", "near duplicate", "near duplicates of other rows",
        "Another row is nearer than a tenth of the distance of either from the mean row.",
    ),
    Category("cluster", "near-equal", "near-equal rows", "One of several that are linked as near duplicates."),
    Category(
        "bundle", "near-parallel", "near-parallel rows",
        "One of several rows that are linked by small angles, as seen from the mean row.",
    ),
    Category(
        "looks-untrained", "looks untrained", "rows that look untrained",
        "Its row lies as near to the rows of tokens that are known to be unused as those lie to each other.",
    ),
)  # fmt: skip

KEYS = tuple(one.key for one in CATALOGUE)
TITLES = {one.key: one.title for one in CATALOGUE}
