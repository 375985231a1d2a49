"""`tokenizer.json`, the format of the tokenizers library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reach.vocabularies.pieces import MARK, ToToken, byte_level, metaspace, plain
from reach.vocabularies.tokens import Tokens, literal, visible
from solvers.errors import BadInput


def tokenizer_json(path: Path) -> Tokens:
    """The tokens of a tokenizer.json.

    Raises:
        BadInput: it is truncated or invalid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}): copy or download it again") from None
    return from_json(text, str(path))


def from_json(text: str, where: str) -> Tokens:
    """The tokens of the text of a tokenizer.json.

    Raises:
        BadInput: it is truncated or invalid.
    """
    from tokenizers import Tokenizer

    try:
        spec = json.loads(text)
        if "\\ud" in text.lower():
            # The tokenizers library refuses lone surrogates; ours are made visible before it sees them.
            spec = _clean(spec)
            text = json.dumps(spec)
        encoder = Tokenizer.from_str(text)
        vocabulary = encoder.get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        reason = " ".join(str(error).split())
        raise BadInput(f"{where} is truncated or invalid ({reason}): copy or download it again") from None
    added = {
        entry["id"]: literal(entry["content"], special=bool(entry.get("special")))
        for entry in spec.get("added_tokens") or []
    }
    to_token = _decoder(spec)
    # An added token is literal text, and wins where a model's own piece has the same id.
    tokens = {number: added[number] if number in added else to_token(piece) for piece, number in vocabulary.items()}
    return Tokens(tokens, where, encoder=encoder)


def _clean(value: Any) -> Any:
    """A JSON value with each lone surrogate in it made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {visible(key): _clean(item) for key, item in value.items()}
    return value


def _decoder(spec: dict[str, Any]) -> ToToken:
    """How one piece turns into text, read from the tokenizer's decoder (or pre-tokenizer)."""
    parts = {part.get("type"): part for part in _flat(spec.get("decoder")) + _flat(spec.get("pre_tokenizer"))}
    if "ByteLevel" in parts:
        return byte_level
    if "Metaspace" in parts:
        return metaspace(parts["Metaspace"].get("replacement") or MARK)
    if "ByteFallback" in parts or _replaces_mark(parts.get("Replace")):
        return metaspace()
    if "WordPiece" in parts:
        prefix = parts["WordPiece"].get("prefix") or "##"
        return plain(lambda piece: piece.removeprefix(prefix))
    if "BPEDecoder" in parts:
        suffix = parts["BPEDecoder"].get("suffix") or "</w>"
        return plain(lambda piece: f"{piece.removesuffix(suffix)} " if piece.endswith(suffix) else piece)
    return plain(str)


def _replaces_mark(step: dict[str, Any] | None) -> bool:
    """Whether a Replace step is the one that turns sentencepiece's ▁ into a space."""
    pattern = (step or {}).get("pattern")
    return isinstance(pattern, dict) and pattern.get("String") == MARK


def _flat(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a decoder or pre-tokenizer, those inside a Sequence included."""
    if not isinstance(part, dict):
        return []
    inner = part.get("decoders") or part.get("pretokenizers")
    return [step for one in inner for step in _flat(one)] if inner else [part]
