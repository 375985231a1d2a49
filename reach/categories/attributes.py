"""What tokens can have in common: their categories, and what their rows, ids and texts are like."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int

_QUANTILES = (1.0, 0.9, 0.75)
"""A bound on norms or ids is put where so many of the tokens that are asked about lie within it."""
_MOST_SCRIPTS, _MOST_PREFIXES, _PREFIX = 12, 8, 3
_MOST_TEXTS = 2**18


@dataclass(frozen=True, eq=False)
class Attribute:
    """Something that a token has or has not.

    Attributes:
        key: its name in files.
        words: what several tokens with it are, after "are"; ends in no full stop and holds no token's text.
        has: `(n,)` which tokens have it.
        tries: among how many of its kind it was chosen, with the tokens that are asked about in view.
        says_why: whether it may explain a verdict; others, such as what texts look like, only describe.
    """

    key: str
    words: str
    has: Bool[np.ndarray, " n"]
    tries: int = 1
    says_why: bool = False


_INNER = re.compile(r"[^\W\d_][^\w\s]+[^\W\d_]")
_TESTS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("capital", "texts that begin with a capital letter", lambda s: s.lstrip()[:1].isupper()),
    ("upper", "texts in capitals", lambda s: len(s.strip()) > 1 and s.isupper()),
    ("space", "texts that begin with a space", lambda s: s[:1] == " "),
    ("no-space", "texts that begin with no space", lambda s: s[:1] != " "),
    ("digits", "texts with digits", lambda s: any(one.isdecimal() for one in s)),
    ("symbols", "texts without letters and digits", lambda s: not any(one.isalnum() for one in s)),
    ("blank", "texts of spaces and line ends", lambda s: s != "" and s.isspace()),
    ("foreign", "texts with characters beyond ASCII", lambda s: not s.isascii()),
    ("inner-mark", "texts with punctuation between letters", lambda s: _INNER.search(s) is not None),
    ("long", "texts of at least ten characters", lambda s: len(s) >= 10),
    ("short", "texts of one character", lambda s: len(s) == 1),
)


def text_attributes(texts: list[str | None]) -> Iterator[Attribute]:
    """What texts are like: how they begin, what characters they hold, how long they are."""
    passed = np.array([0 if s is None else _passed(s) for s in texts], dtype=np.int64)
    for at, (key, words, _) in enumerate(_TESTS):
        yield Attribute(f"text:{key}", words, (passed >> at & 1).astype(bool))
    scripts = [None if s is None else _script(s) for s in texts]
    common = [name for name, _ in Counter(name for name in scripts if name).most_common(_MOST_SCRIPTS)]
    for name in common:
        yield Attribute(
            f"script:{name.lower()}", f"texts in {name.capitalize()} letters",
            np.array([one == name for one in scripts]), len(common),
        )  # fmt: skip


@lru_cache(maxsize=_MOST_TEXTS)
def _passed(text: str) -> int:
    """Which tests a text passes, a bit each. Checkpoints of one model, and its page, ask about the same texts."""
    return sum(1 << at for at, (_, _, test) in enumerate(_TESTS) if test(text))


@lru_cache(maxsize=_MOST_TEXTS)
def _script(text: str) -> str | None:
    """The first word of the Unicode name of the first letter; none where there is no letter."""
    letter = next((one for one in text if one.isalpha()), None)
    name = "" if letter is None else unicodedata.name(letter, "")
    return name.split(maxsplit=1)[0] if name else None


def bounded_attributes(
    norm: Float64[np.ndarray, " n"], token: Int[np.ndarray, " n"], asked: Bool[np.ndarray, " n"]
) -> Iterator[Attribute]:
    """Bounds on norms and ids that hold most of the tokens that are asked about, and little beside them at best."""
    found = norm[asked]
    tries = 4 * len(_QUANTILES)
    if not len(found):
        return
    for share in _QUANTILES:
        part = "" if share == 1 else f":{share:g}"
        high, low = float(np.quantile(found, share)), float(np.quantile(found, 1 - share))
        yield Attribute(f"short-row{part}", f"short rows (norm up to {high:.3g})", norm <= high, tries)
        yield Attribute(f"long-row{part}", f"long rows (norm from {low:.3g})", norm >= low, tries)
        last = int(np.quantile(token[asked], share, method="higher"))
        start = int(np.quantile(token[asked], 1 - share, method="lower"))
        yield Attribute(f"first-ids{part}", f"tokens with ids up to {last}", token <= last, tries)
        yield Attribute(f"last-ids{part}", f"tokens with ids from {start}", token >= start, tries)


def prefix_attributes(texts: list[str | None], asked: Bool[np.ndarray, " n"]) -> Iterator[Attribute]:
    """Beginnings that several of the tokens that are asked about share; the words say only how long they are."""
    counts = Counter(s[:_PREFIX] for s, one in zip(texts, asked, strict=True) if one and s and len(s) > _PREFIX)
    common = [prefix for prefix, count in counts.most_common(_MOST_PREFIXES) if count > 1]
    for at, prefix in enumerate(common):
        has = np.array([s is not None and s.startswith(prefix) for s in texts])
        yield Attribute(
            f"prefix:{at}", f"texts that begin with the same {_PREFIX} characters", has, max(1, len(counts))
        )
