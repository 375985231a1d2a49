"""Which of the files in a model folder hold its tokens, and in which format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reach.bounded import read_bytes
from reach.vocabularies.added import added_tokens, model_type, tokenizer_config
from reach.vocabularies.byt5 import BYT5_CLASS, byt5_tokens
from reach.vocabularies.rwkv import is_rwkv, rwkv_tokens
from reach.vocabularies.sentencepiece import sentencepiece_tokens
from reach.vocabularies.tekken import tekken_tokens
from reach.vocabularies.tiktoken import is_tiktoken, tiktoken_tokens
from reach.vocabularies.tokenizer_json import tokenizer_json
from reach.vocabularies.tokens import Token, Tokens, Unreadable
from reach.vocabularies.transformers import through_transformers
from solvers.errors import BadInput

_MODELS = ("tokenizer.model", "tiktoken.model", "spiece.model")
"""Files of tiktoken lines, or of a sentencepiece model; what is in them tells which."""
_OLD = ("vocab.json", "vocab.txt", "sentencepiece.bpe.model")
"""Files in which the ids of the tokens are not all: transformers knows the rest."""
_SHIFTED = "pegasus"
"""Models whose ids are not the places in their sentencepiece model."""
_AGAIN = "copy or download it again"
_MOST = 2**24


def folder_tokens(folder: Path) -> Tokens | None:
    """The tokens of a model folder, or none where it has no tokenizer.

    Raises:
        BadInput: there is a tokenizer.json, but it is truncated or invalid.
        Unreadable: there is a tokenizer of another kind, but it is damaged, or only code of its own reads it.
    """
    if (folder / "tokenizer.json").is_file():
        return tokenizer_json(folder / "tokenizer.json")
    if (folder / "tekken.json").is_file():
        return Tokens(tekken_tokens(folder / "tekken.json"), str(folder / "tekken.json"))
    for path in (*_named(folder, "*.tiktoken"), *_named(folder, "rwkv_vocab*.txt")):
        return _with_added(folder, path)
    if any((folder / name).is_file() for name in _OLD):
        path = folder / "vocab.txt"
        if path.is_file() and is_rwkv(_content(path)):
            return _with_added(folder, path)
        return through_transformers(folder)
    for name in _MODELS:
        if (folder / name).is_file():
            return through_transformers(folder) if _is_shifted(folder) else _with_added(folder, folder / name)
    config = tokenizer_config(folder)
    if config.get("tokenizer_class") == BYT5_CLASS:
        return Tokens({**byt5_tokens(config), **added_tokens(folder)}, str(folder))
    return None


def _with_added(folder: Path, path: Path) -> Tokens:
    """The tokens of one file, and those that other files add to them."""
    try:
        found = _tokens_of(_content(path))
    except Unreadable as error:
        raise Unreadable(f"{path.name}: {error}") from None
    return Tokens({**found, **added_tokens(folder)}, str(path))


def _tokens_of(content: bytes) -> Mapping[int, Token]:
    if is_tiktoken(content):
        return tiktoken_tokens(content)
    if is_rwkv(content):
        return rwkv_tokens(content)
    return sentencepiece_tokens(content)


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, again=_AGAIN, most=_MOST)
    except BadInput as error:
        raise Unreadable(str(error).removeprefix(f"{path}: ").removesuffix(f"; {_AGAIN}")) from None


def _named(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())[:1]


def _is_shifted(folder: Path) -> bool:
    kinds = (str(tokenizer_config(folder).get("tokenizer_class")), model_type(folder))
    return any(kind.lower().startswith(_SHIFTED) for kind in kinds)
