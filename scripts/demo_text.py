"""The text and the tokenizer of the demo model: the standard library's own sources."""

from __future__ import annotations

import hashlib
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"

# Not part of the standard library, or specific to one machine's build.
SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__"})
SKIPPED_PREFIXES = ("_sysconfigdata", "config-")
# Folders whose files only the tokenizer sees.
TOKENIZER_ONLY_FOLDERS = frozenset(
    {
        "test",
        "tests",
        "idle_test",
        "idlelib",
        "lib2to3",
        "encodings",
        "turtledemo",
        "pydoc_data",
        "tkinter",
        "distutils",
    }
)

TokenIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SourceFile:
    """One decoded source file, named by its path inside the standard library."""

    path: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Three sets of files: the tokenizer's text holds both others."""

    tokenizer: list[SourceFile]
    train: list[SourceFile]
    validation: list[SourceFile]


def stdlib_files(root: Path, max_file_bytes: int) -> list[SourceFile]:
    """Read the standard library's sources in path order, which no file system's listing order can change.

    Files above ``max_file_bytes`` are generated tables for the most part, and files that do not decode are
    test inputs that are broken on purpose: both are left out.
    """
    by_name = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    files = []
    for name in sorted(by_name):
        parts = name.split("/")
        if SKIPPED_FOLDERS.intersection(parts) or any(part.startswith(SKIPPED_PREFIXES) for part in parts):
            continue
        if by_name[name].stat().st_size > max_file_bytes:
            continue
        try:
            with tokenize.open(by_name[name]) as handle:
                text = handle.read()
        except (SyntaxError, UnicodeDecodeError):
            continue
        if text.strip():
            files.append(SourceFile(name, text))
    return files


def split_corpus(files: list[SourceFile], validation_every: int) -> Corpus:
    """Give the library packages to the language model, less one file in about ``validation_every``, held out.

    The hold-out goes by a hash of the path, so that adding or losing a file moves no other file across.
    """
    train: list[SourceFile] = []
    validation: list[SourceFile] = []
    for file in files:
        if TOKENIZER_ONLY_FOLDERS.intersection(file.path.split("/")[:-1]):
            continue
        bucket = int.from_bytes(hashlib.sha256(file.path.encode()).digest()[:8], "big") % validation_every
        (validation if bucket == 0 else train).append(file)
    if not train or not validation:
        raise ValueError("The standard library found here has too few files to hold any of them out.")
    return Corpus(files, train, validation)


def describe_files(files: list[SourceFile]) -> dict[str, Any]:
    """Size and fingerprint of a set of files, to tell whether two runs saw the same text."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.text}\0".encode("utf-8", "surrogatepass"))
    return {"files": len(files), "characters": sum(len(f.text) for f in files), "sha256": digest.hexdigest()}


# --- tokenizer ----------------------------------------------------------------------------------------------


def train_tokenizer(files: list[SourceFile], vocab_size: int, context: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        # All 256 bytes, sorted because the library returns them as an unordered set.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((file.text for file in files), trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        raise ValueError(f"The text gave {tokenizer.get_vocab_size()} tokens where {vocab_size} were asked for.")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, files: list[SourceFile]) -> TokenIds:
    """Encode files into one stream, each of them opened by the end-of-text token, as GPT-2 does."""
    backend = tokenizer.backend_tokenizer
    separator = int(tokenizer.eos_token_id)
    stream: list[int] = []
    for encoding in backend.encode_batch([file.text for file in files]):
        stream.append(separator)
        stream.extend(encoding.ids)
    return np.asarray(stream, dtype=np.int64)
