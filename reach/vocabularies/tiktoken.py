"""Files of the tiktoken library: a line per token, its bytes in base64 and its rank, which is its id.

So are `*.tiktoken` (Qwen), `tiktoken.model` (Kimi) and Llama 3's own `tokenizer.model`. Their special tokens are in
code, which is not run; those that `tokenizer_config.json` names are known.
"""

from __future__ import annotations

import base64
import binascii

from reach.vocabularies.pieces import of_bytes
from reach.vocabularies.tokens import Token, Unreadable, tokens_of_lines

_MOST_DIGITS = 9


def is_tiktoken(content: bytes) -> bool:
    """Whether content begins with a line of this form."""
    try:
        _line(content[:4096].split(b"\n", 1)[0])
    except Unreadable:
        return False
    return True


def tiktoken_tokens(content: bytes) -> dict[int, Token]:
    """The tokens of such a file by their ids.

    Raises:
        Unreadable: a line has another form, or two have one rank.
    """
    return tokens_of_lines(content.splitlines(), _line, "rank")


def _line(line: bytes) -> tuple[int, Token]:
    parts = line.split()
    if len(parts) != 2 or not parts[1].isdigit() or len(parts[1]) > _MOST_DIGITS:
        raise Unreadable("is no token in base64 and its rank")
    try:
        return int(parts[1]), of_bytes(base64.b64decode(parts[0], validate=True))
    except binascii.Error:
        raise Unreadable("is no token in base64 and its rank") from None
