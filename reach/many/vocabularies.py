"""One vocabulary for all checkpoints of a model: what is worked out about its tokens is then worked out once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from reach.heads.head import Head
from reach.vocabulary import Vocabulary, load_vocabulary

_FILES = (
    "config.json", "tokenizer*", "added_tokens.json", "special_tokens_map.json", "vocab*", "merges.txt",
    "tekken.json", "*.model", "*.tiktoken", "rwkv_vocab*",
)  # fmt: skip
"""What a vocabulary is read from."""


class Vocabularies:
    """The vocabularies of models that come one after the other; the last one is kept."""

    def __init__(self) -> None:
        self._key: bytes | None = None
        self._last: Vocabulary | None = None

    def of(self, head: Head) -> Vocabulary:
        """The tokens of a head: those of the last one where the files are the same.

        Raises:
            BadInput: see `load_vocabulary`.
        """
        if head.vocabulary is not None:
            return head.vocabulary
        key = None if head.folder is None else _digest(head.folder, head.v)
        if key is None or key != self._key or self._last is None:
            self._last, self._key = load_vocabulary(head.folder, head.v), key
        return self._last


def _digest(folder: Path, rows: int) -> bytes | None:
    """Of names and contents of the files; none where one cannot be read."""
    digest = hashlib.sha256(f"{rows}".encode())
    try:
        for file in sorted({file for mark in _FILES for file in folder.glob(mark) if file.is_file()}):
            digest.update(f"\0{file.name}\0".encode("utf-8", "surrogatepass"))
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError:
        return None
    return digest.digest()
