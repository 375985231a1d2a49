"""`rwkv_vocab_v20230424.txt` and its like: a line per token with its id, the token as a Python literal, its bytes."""

from __future__ import annotations

import ast
import warnings

from reach.vocabularies.pieces import of_bytes
from reach.vocabularies.tokens import Token, Unreadable, tokens_of_lines

_MOST_LINE = 4096
_MOST_DIGITS = 9


def is_rwkv(content: bytes) -> bool:
    """Whether content begins with a line of this form."""
    try:
        _line(content[: _MOST_LINE + 1].split(b"\n", 1)[0])
    except Unreadable:
        return False
    return True


def rwkv_tokens(content: bytes) -> dict[int, Token]:
    """The tokens of such a file by their ids. Id 0, which ends a text, is not among them.

    Raises:
        Unreadable: a line has another form, or two have one id.
    """
    return tokens_of_lines(content.split(b"\n"), _line, "id")


def _line(line: bytes) -> tuple[int, Token]:
    head, _, rest = line.strip().partition(b" ")
    literal, _, size = rest.rpartition(b" ")
    literal = literal.strip()
    wrong = Unreadable("is no id, literal and number of bytes")
    if len(line) > _MOST_LINE or not literal.startswith((b"'", b'"', b"b'", b'b"')):
        raise wrong
    if not all(one.isdigit() and len(one) <= _MOST_DIGITS for one in (head, size)):
        raise wrong
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            # A literal and nothing more: nothing is run.
            value = ast.literal_eval(literal.decode("utf-8"))
        content = value.encode("utf-8") if isinstance(value, str) else value
    except (ValueError, SyntaxError, MemoryError, RecursionError, UnicodeError):
        raise wrong from None
    if not isinstance(content, bytes) or len(content) != int(size):
        raise wrong
    return int(head), of_bytes(content)
