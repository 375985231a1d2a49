"""Tokens that are known to be unused: what rows of untrained tokens look like can be learned from them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from reach.categories.findings import Finding
from reach.categories.roles import ADDED, PAD, SPECIAL, Roles
from reach.categories.tokenizer import IMPOSSIBLE_BYTES, byte_value
from reach.vocabulary import Vocabulary

_UNUSED = ("padding", "reserved")
_ONLY_PADS = frozenset({PAD, SPECIAL, ADDED})


def known_unused(vocabulary: Vocabulary, findings: Iterable[Finding], roles: Roles) -> Int[np.ndarray, " k"]:
    """Ids of tokens that training never asks for, ascending.

    They are padding rows, reserved tokens, bytes that no UTF-8 text holds, and a token that only fills texts up.

    Args:
        vocabulary: the tokens.
        findings: what the tokenizer says of them (`tokenizer_findings`).
        roles: what the model's files say each is for.
    """
    found = {token for token in roles.named(PAD) if {role.name for role in roles.of(token)} <= _ONLY_PADS}
    for one in findings:
        if one.category in _UNUSED:
            found.add(one.token)
        elif one.category == "byte":
            value = byte_value(vocabulary.pieces[one.token], vocabulary.texts[one.token])
            if value in IMPOSSIBLE_BYTES:
                found.add(one.token)
    return np.array(sorted(found), dtype=np.int64)
