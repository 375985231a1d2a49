"""Can the tokenizer make a token of any text? Each is decoded and encoded again, alone and beside other characters.

That a text was found is a proof that the tokenizer reaches the token. That none was found is not one that it never
does: other surroundings may bring it about, and the word is therefore *not reached*.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_BEFORE = ("", "«", " ", "a", "\n", "1", "中", *string.ascii_lowercase[1:], *string.digits[2:], "é", "-", "'")
"""What stands before a text. A continuing piece needs a beginning that the vocabulary does not join with it."""
_AFTER = ("", "a", "«", " ")
_SURROUNDINGS = tuple(
    (before, after) for before in _BEFORE for after in (_AFTER if before in ("", "«", "a") else _AFTER[:1])
)
_AT_ONCE = 4096


def unreached(encoder: Any, texts: dict[int, str]) -> dict[int, tuple[int, ...]]:
    """The tokens that none of the tried texts is encoded as, and the ids that their own text gives.

    Args:
        encoder: a `tokenizers.Tokenizer`.
        texts: of each token that is to be tried, what it decodes to; it has to be whole text.
    """
    tokens = np.array(sorted(texts), dtype=np.int64)
    decoded = [encoder.decode([token], skip_special_tokens=False) for token in tokens.tolist()]
    alone: dict[int, tuple[int, ...]] = {}
    left = np.ones(len(tokens), dtype=bool)
    # The library takes the space before a first word away, and what is stored keeps it.
    for spelled in (decoded, [texts[token] for token in tokens.tolist()]):
        for before, after in _SURROUNDINGS:
            open_ = np.flatnonzero(left)
            if not len(open_):
                return {}
            for place, ids in zip(
                open_, _encoded(encoder, [before + spelled[at] + after for at in open_]), strict=True
            ):
                if tokens[place] in ids:
                    left[place] = False
                elif not before and not after and spelled is decoded:
                    alone[int(tokens[place])] = tuple(ids)
    return {int(token): alone[int(token)] for token in tokens[left]}


def _encoded(encoder: Any, texts: Sequence[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), _AT_ONCE):
        for found in encoder.encode_batch(list(texts[start : start + _AT_ONCE]), add_special_tokens=False):
            yield found.ids
