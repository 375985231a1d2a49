"""The tokens behind the rows of a head, as pieces and as text."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.pretrained import NeedsOwnCode, pretrained
from solvers.errors import BadInput

_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_OLD_FILES = (
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)

ToText = Callable[[str], str | None]


@dataclass(frozen=True)
class Vocabulary:
    """One entry per row of a head, in row order.

    Attributes:
        pieces: the token as the tokenizer stores it; none where no token belongs to the row.
        texts: what the token alone decodes to; bytes that are no whole character read <0xC1>. None without a piece.
        warnings: one line each on what does not fit.
    """

    pieces: list[str | None]
    texts: list[str | None]
    warnings: list[str]

    def show(self, token_id: int) -> str:
        """The token in quotes, else its number, for a person."""
        text = self.texts[token_id] if self.texts[token_id] is not None else self.pieces[token_id]
        return f"token {token_id}" if text is None else f"{text!r} ({token_id})"


def load_vocabulary(folder: Path | None, rows: int) -> Vocabulary:
    """Read the tokenizer of a model folder.

    Args:
        folder: the folder; none for a head without one.
        rows: rows of the head, which the lists are cut or filled to.

    Raises:
        BadInput: there is a tokenizer.json, but it is truncated or invalid.
    """
    if folder is None:
        return _without(rows, "this head comes without a tokenizer: tokens are shown by their ids")
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} cannot be read ({error}): copy or download it again") from None
        return _from_json(text, rows, str(path))
    if any((folder / name).is_file() for name in _OLD_FILES):
        return _through_transformers(folder, rows)
    return _without(rows, f"{folder} has no tokenizer: tokens are shown by their ids")


def visible(text: str) -> str:
    """The same text with each lone surrogate written as `\\udXXX`, so that it can be stored as UTF-8."""
    if _SURROGATE.search(text) is None:
        return text
    # Through UTF-16, in which two halves that belong together become one character.
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", joined)


def _without(rows: int, warning: str) -> Vocabulary:
    return Vocabulary([None] * rows, [None] * rows, [warning])


def _from_json(text: str, rows: int, where: str) -> Vocabulary:
    """A vocabulary from the text of a tokenizer.json."""
    from tokenizers import Tokenizer

    try:
        spec = json.loads(text)
        if "\\ud" in text.lower():
            # The tokenizers library refuses lone surrogates; ours are made visible before it sees them.
            spec = _clean(spec)
            text = json.dumps(spec)
        vocabulary = Tokenizer.from_str(text).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        reason = " ".join(str(error).split())
        raise BadInput(f"{where} is truncated or invalid ({reason}): copy or download it again") from None
    added = {entry["id"]: entry["content"] for entry in spec.get("added_tokens") or []}
    return _fill(vocabulary, added, _decoder(spec), rows, where)


def _through_transformers(folder: Path, rows: int) -> Vocabulary:
    """The older kinds of tokenizer, converted by transformers; without it, the scan goes on with ids alone."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        return _without(
            rows,
            f"{folder} has no tokenizer.json; its older tokenizer needs: pip install transformers",
        )
    try:
        tokenizer = pretrained(AutoTokenizer, folder, local_files_only=True)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            return _from_json(backend.to_str(), rows, str(folder))
        vocabulary = {str(piece): int(number) for piece, number in tokenizer.get_vocab().items()}
    except NeedsOwnCode as error:
        return _without(rows, f"the tokenizer of {error}: tokens are shown by their ids")
    except Exception as error:  # whatever an old file or a missing package of its reader makes it raise
        reason = " ".join(str(error).split())[:200]
        return _without(rows, f"{folder}: its tokenizer cannot be read ({reason}): tokens are shown by their ids")
    return _fill(vocabulary, {}, _metaspace("▁"), rows, str(folder))


def _fill(vocabulary: dict[str, int], added: dict[int, str], to_text: ToText, rows: int, where: str) -> Vocabulary:
    pieces: list[str | None] = [None] * rows
    texts: list[str | None] = [None] * rows
    for piece, number in vocabulary.items():
        if 0 <= number < rows:
            # An added token is literal text, and wins where a model's own piece has the same id.
            name = added.get(number, piece)
            text = name if number in added else to_text(piece)
            pieces[number] = visible(name)
            texts[number] = None if text is None else visible(text)
    return Vocabulary(pieces, texts, _warnings(vocabulary, pieces, rows, where))


def _warnings(vocabulary: dict[str, int], pieces: list[str | None], rows: int, where: str) -> list[str]:
    warnings = []
    empty = [row for row, piece in enumerate(pieces) if piece is None]
    beyond = sorted(number for number in vocabulary.values() if number >= rows)
    if empty:
        warnings.append(
            f"{where}: {len(empty)} of the head's {rows} rows have no token (the first is row {empty[0]}): no "
            "text can hold them, and they are shown by their ids"
        )
    if beyond:
        warnings.append(
            f"{where}: {len(beyond)} tokens have no row in the head of {rows} (the first is id {beyond[0]}): the "
            "model cannot say or read them"
        )
    return warnings


def _clean(value: Any) -> Any:
    """A JSON value with each lone surrogate in it made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {visible(key): _clean(item) for key, item in value.items()}
    return value


# --- from a piece to its text ------------------------------------------------------------------------------------


def _decoder(spec: dict[str, Any]) -> ToText:
    """How one piece turns into text, read from the tokenizer's decoder (or pre-tokenizer)."""
    parts = {part.get("type"): part for part in _flat(spec.get("decoder")) + _flat(spec.get("pre_tokenizer"))}
    if "ByteLevel" in parts:
        return _byte_level
    if "Metaspace" in parts:
        return _metaspace(parts["Metaspace"].get("replacement") or "▁")
    if "ByteFallback" in parts or _replaces_mark(parts.get("Replace")):
        return _metaspace("▁")
    if "WordPiece" in parts:
        prefix = parts["WordPiece"].get("prefix") or "##"
        return lambda piece: piece.removeprefix(prefix)
    if "BPEDecoder" in parts:
        suffix = parts["BPEDecoder"].get("suffix") or "</w>"
        return lambda piece: f"{piece.removesuffix(suffix)} " if piece.endswith(suffix) else piece
    return lambda piece: piece


def _replaces_mark(step: dict[str, Any] | None) -> bool:
    """Whether a Replace step is the one that turns sentencepiece's ▁ into a space."""
    pattern = (step or {}).get("pattern")
    return isinstance(pattern, dict) and pattern.get("String") == "▁"


def _flat(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a decoder or pre-tokenizer, those inside a Sequence included."""
    if not isinstance(part, dict):
        return []
    inner = part.get("decoders") or part.get("pretokenizers")
    return [step for one in inner for step in _flat(one)] if inner else [part]


def _byte_table() -> dict[str, int]:
    """Byte-level BPE writes each byte as a visible character: the printable Latin-1 ones as themselves, the other 68
    as the characters from U+0100 on (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_table()
_BYTES_IN_ANGLES = "reach.bytes-in-angles"


def _in_angles(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no whole character read <0xC1>, as SentencePiece writes them; the piece itself would mislead."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"<0x{byte:02X}>" for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_BYTES_IN_ANGLES, _in_angles)


def _byte_level(piece: str) -> str | None:
    try:
        return bytes(_BYTES[character] for character in piece).decode("utf-8", errors=_BYTES_IN_ANGLES)
    except KeyError:
        return piece  # a character outside the table was never a byte


def _metaspace(mark: str) -> ToText:
    def to_text(piece: str) -> str | None:
        byte = _BYTE_TOKEN.fullmatch(piece)
        if byte is not None:
            number = int(byte.group(1), 16)
            return chr(number) if number < 0x80 else piece
        return piece.replace(mark, " ")

    return to_text
