"""Older kinds of tokenizer files, converted by transformers."""

from __future__ import annotations

from pathlib import Path

from reach.pretrained import NeedsOwnCode, pretrained
from reach.vocabularies.pieces import metaspace
from reach.vocabularies.tokenizer_json import from_json
from reach.vocabularies.tokens import Tokens, Unreadable


def through_transformers(folder: Path) -> Tokens:
    """The tokens of a folder whose tokenizer transformers can load.

    Raises:
        Unreadable: it cannot, or only with code that the model brings along.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise Unreadable("its older tokenizer needs: pip install transformers") from None
    try:
        tokenizer = pretrained(AutoTokenizer, folder, local_files_only=True)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            return from_json(backend.to_str(), str(folder))
        vocabulary = {str(piece): int(number) for piece, number in tokenizer.get_vocab().items()}
    except NeedsOwnCode as error:
        raise Unreadable(f"the tokenizer of {error}") from None
    except Exception as error:  # whatever an old file or a missing package of its reader makes it raise
        raise Unreadable(" ".join(str(error).split())[:200]) from None
    spelled = metaspace()
    return Tokens({number: spelled(piece) for piece, number in vocabulary.items()}, str(folder))
