"""Which tokens a person asks for: ids, ranges, strings, or a file of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from reach.bounded import is_there, read_bytes
from reach.options import readable_path, short
from reach.vocabulary import Vocabulary
from solvers.errors import BadInput

_ID = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)-(\d+)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_MOST_SHOWN = 6
_MOST_DIGITS = 18
_LONGEST_NEAR = 200


def choose_tokens(
    spec: str | None, vocabulary: Vocabulary, v: int, *, option: str = "--tokens"
) -> Int64[np.ndarray, " n"]:
    """Read a choice of tokens.

    Parts are separated by commas: an id (`5`), a range with both ends (`10-20`), a token as text, or `@FILE` with one
    part per line. Text must equal a token's piece, or what it decodes to, in full; a piece wins over a decoded text.
    Quotes, single or double, make anything text (`"5"`, `","`, `" the"`); inside them a backslash keeps the next
    character, and `\\n`, `\\t`, `\\r` are what they are in other places.

    Args:
        spec: the choice; none means every token.
        vocabulary: the tokens' names.
        v: number of tokens.
        option: what the choice was given by, for messages.

    Returns:
        Sorted ids, each once.

    Raises:
        BadInput: a part is empty, out of range, unknown (near matches are named) or means several tokens, or the file
            cannot be read.
    """
    if spec is None:
        return np.arange(v, dtype=np.int64)
    try:
        return _chosen(spec, vocabulary, v)
    except BadInput as error:
        raise BadInput(str(error).replace("--tokens", option, 1)) from None


def _chosen(spec: str, vocabulary: Vocabulary, v: int) -> Int64[np.ndarray, " n"]:
    chosen: set[int] = set()
    for part, quoted in _parts(spec):
        if not quoted and part.startswith("@"):
            for line, line_quoted in _lines(readable_path(part[1:])):
                chosen.update(_one(line, line_quoted, vocabulary, v))
        else:
            chosen.update(_one(part, quoted, vocabulary, v))
    if not chosen:
        raise BadInput("--tokens chooses no token: give ids, ranges, text or @FILE, separated by commas")
    return np.array(sorted(chosen), dtype=np.int64)


def _parts(spec: str) -> Iterator[tuple[str, bool]]:
    """The parts between commas, and whether each was quoted."""
    position = 0
    while position <= len(spec):
        while position < len(spec) and spec[position] == " ":
            position += 1
        if position < len(spec) and spec[position] in "\"'":
            text, position = _quoted(spec, position)
            rest = re.compile(" *(,|$)").match(spec, position)
            if rest is None:
                raise BadInput(f"--tokens: a comma is missing after the quoted {short(text)!r}")
            yield text, True
            position = rest.end() if rest.group(1) else len(spec) + 1
        else:
            end = spec.find(",", position)
            end = len(spec) if end < 0 else end
            part = spec[position:end].rstrip(" ")
            if not part:
                raise BadInput("--tokens has an empty part: write a comma as a token in quotes, ','")
            yield part, False
            position = end + 1


def _quoted(spec: str, start: int) -> tuple[str, int]:
    """The text in the quotes that open at `start`, and the place after them."""
    quote, text, position = spec[start], "", start + 1
    while position < len(spec) and spec[position] != quote:
        character = spec[position]
        if character == "\\" and position + 1 < len(spec):
            position += 1
            character = _ESCAPES.get(spec[position], spec[position])
        text += character
        position += 1
    if position >= len(spec):
        raise BadInput(f"--tokens: the quote before {short(spec[start + 1 :])!r} is never closed")
    return text, position + 1


def _lines(path: Path) -> Iterator[tuple[str, bool]]:
    """One part per line of a file; blank lines are skipped."""
    if not is_there(path):
        raise BadInput(f"--tokens @{path}: the file cannot be read: No such file or directory")
    try:
        lines = read_bytes(path, again="give a text file", most=2**27).decode("utf-8").split("\n")
    except (BadInput, UnicodeDecodeError) as error:
        raise BadInput(f"--tokens @{path}: the file cannot be read: {error}") from None
    for raw in lines:
        line = raw.strip(" \r")
        if not line:
            continue
        if line[0] in "\"'" and len(line) > 1:
            text, end = _quoted(line, 0)
            if end != len(line):
                raise BadInput(
                    f"--tokens @{path}: one part per line, but a line goes on after the quoted {short(text)!r}"
                )
            yield text, True
        else:
            yield line, False


def _one(part: str, quoted: bool, vocabulary: Vocabulary, v: int) -> range | list[int]:
    """The ids that one part means."""
    if not quoted:
        if _ID.fullmatch(part):
            return [_in_range(part, part, v)]
        ends = _RANGE.fullmatch(part)
        if ends:
            first, last = (_in_range(end, part, v) for end in ends.groups())
            if first > last:
                raise BadInput(f"--tokens {short(part)}: a range goes from the smaller id to the larger")
            return range(first, last + 1)
    return [token_by_text(part, vocabulary)]


def _in_range(digits: str, part: str, v: int) -> int:
    token_id = int(digits) if len(digits) <= _MOST_DIGITS else v
    if token_id >= v:
        raise BadInput(
            f"--tokens {short(part)}: the head has ids 0 to {v - 1}; put digits in quotes if they are a token's text"
        )
    return token_id


def token_by_text(text: str, vocabulary: Vocabulary, *, said: str = "--tokens ") -> int:
    """The id of the token whose piece, or else text, is this in full.

    Raises:
        BadInput: there is none, or there are several; near matches are named. `said` comes before the text there.
    """
    for names in (vocabulary.pieces, vocabulary.texts):
        found = [token_id for token_id, name in enumerate(names) if name == text]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(map(str, found[:_MOST_SHOWN])) + (" …" if len(found) > _MOST_SHOWN else "")
            raise BadInput(f"{said}{short(text)!r} means {len(found)} tokens: choose by id ({shown})")
    if all(piece is None for piece in vocabulary.pieces):
        raise BadInput(f"{said}{short(text)!r}: this head comes without a tokenizer, so choose tokens by id")
    near = _near(text, vocabulary)
    raise BadInput(
        f"{said}{short(text)!r} is no token"
        + (f"; near are {', '.join(near)}" if near else "")
        + ": quote it as it is stored"
    )


def _near(text: str, vocabulary: Vocabulary) -> list[str]:
    """A few tokens that look like a text, the ones that differ in space or case first."""
    bare = text.strip().casefold()
    alike: dict[int, None] = {}
    by_name: dict[str, int] = {}
    for token_id, (piece, decoded) in enumerate(zip(vocabulary.pieces, vocabulary.texts, strict=True)):
        name = decoded if decoded is not None else piece
        if name is None:
            continue
        by_name.setdefault(name, token_id)
        if bare and name.strip().casefold() == bare:
            alike[token_id] = None
    if len(alike) < _MOST_SHOWN and len(text) <= _LONGEST_NEAR:
        for name in difflib.get_close_matches(text, by_name, n=_MOST_SHOWN):
            alike[by_name[name]] = None
    return [vocabulary.show(token_id) for token_id in list(alike)[:_MOST_SHOWN]]
