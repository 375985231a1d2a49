"""Token strings made visible: spaces, line ends, control and direction characters can be told apart.

`templates/marks.js` follows the same rules in the browser.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

# Signs and letters that common fonts have: most lack the pictures that Unicode keeps for control characters.
_NAMED = {" ": "␣", "\n": "⏎", "\t": "⇥", "\x7f": "DEL"}
_CONTROLS = (
    *("NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI"),
    *("DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US"),
)


@dataclass(frozen=True)
class Piece:
    """A stretch of a token: characters as they are, or (with `mark`) a sign that stands for one of them."""

    text: str
    mark: bool = False


@dataclass(frozen=True)
class Visible:
    """A whole token, ready to be shown; `hidden` characters at the end were left out."""

    pieces: tuple[Piece, ...]
    hidden: int = 0


def sign(character: str) -> str | None:
    """What to show in place of a character that would be invisible or would disturb its surroundings."""
    if character in _NAMED:
        return _NAMED[character]
    if character < " ":
        return _CONTROLS[ord(character)]
    if unicodedata.category(character)[0] in "CZ":
        return f"U+{ord(character):04X}"
    return None


def calm(text: str) -> str:
    """A name on one line: all that cannot be seen, but for spaces, by its signs."""
    return "".join(one if one == " " else sign(one) or one for one in text)


def visible(token: str, limit: int = 80) -> Visible:
    """Split a token into plain stretches and signs, at most `limit` characters of it."""
    pieces: list[Piece] = []
    plain = ""
    for index, character in enumerate(token[:limit]):
        replaced = sign(character)
        if replaced is None:
            # A combining mark with nothing before it would land on the page's own text.
            alone = not plain and unicodedata.category(character)[0] == "M" and (index == 0 or pieces[-1].mark)
            plain += ("◌" if alone else "") + character
            continue
        if plain:
            pieces.append(Piece(plain))
            plain = ""
        pieces.append(Piece(replaced, mark=True))
    if plain:
        pieces.append(Piece(plain))
    return Visible(tuple(pieces), max(0, len(token) - limit))
