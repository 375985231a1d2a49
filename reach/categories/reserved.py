"""Tokens whose names say that they are reserved or unused."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"""[\[<|]+ [^\s<>\[\]|]*? (reserved|unused|placeholder|dummy|not_used) [^\s<>\[\]|]* [\]>|]+
    | [\[<|]+ (unk|empty|blank|undefined|special|vocab_pad) _?\d+ [\]>|]+
    | <\|extra_\d+\|> | madeupword\d{4,}""",
    re.IGNORECASE | re.VERBOSE,
)
_MOST = 64


def is_reserved(piece: str) -> bool:
    """Whether a name says that a token is reserved: in brackets, or a word that fills up vocabularies.

    The sentinels of T5, such as `<extra_id_0>`, are not: its training uses them.
    """
    return len(piece) <= _MOST and _NAMES.fullmatch(piece) is not None
