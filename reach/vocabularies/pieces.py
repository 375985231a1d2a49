"""From a piece, the way a tokenizer stores a token, to its text and back."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from reach.vocabularies.tokens import Kind, Token

MARK = "▁"
"""What sentencepiece writes for a space."""

ToToken = Callable[[str], Token]
"""What a piece is, text and kind."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_IN_ANGLES = "reach.bytes-in-angles"


def _byte_table() -> dict[str, int]:
    """Byte-level BPE writes each byte as a visible character: the printable Latin-1 ones as themselves, the other 68
    as the characters from U+0100 on (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_table()
_CHARACTERS = {byte: character for character, byte in _BYTES.items()}


def _bytes_in_angles(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no whole character read <0xC1>, as SentencePiece writes them; the piece itself would mislead."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"<0x{byte:02X}>" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_IN_ANGLES, _bytes_in_angles)


def text_of(content: bytes) -> str:
    """The text of bytes; those that are no whole character read <0xC1>."""
    return content.decode("utf-8", errors=_IN_ANGLES)


def of_bytes(content: bytes) -> Token:
    """A token that is stored as bytes. Its piece is the one that byte-level BPE would write."""
    return Token("".join(_CHARACTERS[byte] for byte in content), text_of(content), _kind_of(content))


def byte_level(piece: str) -> Token:
    """A piece of byte-level BPE."""
    try:
        content = bytes(_BYTES[character] for character in piece)
    except KeyError:
        return Token(piece, piece)  # a character outside the table was never a byte
    return Token(piece, text_of(content), _kind_of(content))


def _kind_of(content: bytes) -> Kind:
    """Printable ASCII characters are bytes too, but as tokens they are the characters."""
    kind = Kind.BYTE if len(content) == 1 and not 0x20 <= content[0] < 0x7F else Kind.NONE
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        kind |= Kind.PARTIAL
    return kind


def metaspace(mark: str = MARK) -> ToToken:
    """Pieces that write a mark for a space, and `<0x0A>` for a byte."""

    def to_token(piece: str) -> Token:
        number = byte_of(piece)
        if number is None:
            return Token(piece, piece.replace(mark, " "))
        if number < 0x80:
            return Token(piece, chr(number), Kind.BYTE)
        return Token(piece, piece, Kind.BYTE | Kind.PARTIAL)

    return to_token


def byte_of(piece: str) -> int | None:
    """The byte that a piece of the form `<0x0A>` stands for."""
    byte = _BYTE_TOKEN.fullmatch(piece)
    return None if byte is None else int(byte.group(1), 16)


def plain(to_text: Callable[[str], str]) -> ToToken:
    """Pieces of which only the text is to be found out."""
    return lambda piece: Token(piece, to_text(piece))
