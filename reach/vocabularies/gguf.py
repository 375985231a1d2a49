"""The vocabulary that a GGUF file holds, which was written for llama.cpp's own tokenizers."""

from __future__ import annotations

import re

from reach.vocabularies.pieces import ToToken, byte_level, metaspace, of_bytes, plain, text_of
from reach.vocabularies.tokens import Kind, Token, Tokens
from solvers.errors import BadInput

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)
_KINDS = {_UNKNOWN: Kind.SPECIAL, _CONTROL: Kind.SPECIAL, _USER: Kind.ADDED, _UNUSED: Kind.UNUSED}
_MARKED = ("llama", "bert", "t5", "gemma4")
_BYTE_LEVEL = ("gpt2", "hybriddna", "whitespace")
_MARKED_PRE = ("gemma4", "granite-embed-multi-311m", "sarvam-moe")
"""Byte-level kinds by their name that write spaces as sentencepiece does."""
_NONE = (None, "none", "no_vocab")
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_NAMED = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


def gguf_tokens(
    model: str | None, pre: str | None, pieces: list[bytes] | None, types: list[int] | None, where: str
) -> Tokens | None:
    """The tokens by their ids; none where the file has none.

    Args:
        model: `tokenizer.ggml.model`, the kind of tokenizer.
        pre: `tokenizer.ggml.pre`, its pre-tokenizer.
        pieces: `tokenizer.ggml.tokens`.
        types: `tokenizer.ggml.token_type`, in sentencepiece's numbers; none means that all are normal.
        where: the file, for messages.

    Raises:
        BadInput: there is not one type for each token.
    """
    if pieces is None or model in _NONE:
        return None
    if types is not None and len(types) != len(pieces):
        raise BadInput(
            f"{where}: its vocabulary has {len(pieces)} tokens, but types for {len(types)}: copy or download it again"
        )
    if model == "rwkv":
        return Tokens({number: of_bytes(_unescaped(stored)) for number, stored in enumerate(pieces)}, where)
    spelled, warnings = _speller(model or "", pre or "", where)
    tokens = {}
    for number, stored in enumerate(pieces):
        piece = text_of(stored)
        # Control tokens, those that a user defined, and the unknown one are literal text.
        stored_as = _NORMAL if types is None else types[number]
        is_literal = stored_as not in (_NORMAL, _BYTE)
        tokens[number] = Token(piece, piece, _KINDS.get(stored_as, Kind.NONE)) if is_literal else spelled(piece)
    return Tokens(tokens, where, warnings)


def _speller(model: str, pre: str, where: str) -> tuple[ToToken, tuple[str, ...]]:
    if model in _BYTE_LEVEL and pre not in _MARKED_PRE:
        return byte_level, ()
    if model in _MARKED or model in _BYTE_LEVEL:
        return metaspace(), ()
    if model == "plamo2":
        return metaspace(mark="\0"), ()  # it has bytes, but no mark for a space
    return plain(str), (f"{where}: the tokenizer {model[:40]!r} is not known: tokens are shown as they are stored",)


def _unescaped(stored: bytes) -> bytes:
    """The bytes of a token that is written with escapes."""
    return _ESCAPE.sub(
        lambda found: bytes([int(found[1][1:], 16)]) if len(found[1]) == 3 else _NAMED.get(found[1], found[1]), stored
    )
