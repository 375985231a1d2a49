"""Texts without the folders of the machine that made them: pages are shared, and where files lay is nobody's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_START = r"(?:file://)?(?:/(?![/\s])|~[\w.-]*[/\\]|[A-Za-z]:[/\\](?![/\\])|\\\\(?=\w))"
# A path that begins where no other word goes on: neither within an address of the web nor in “and/or”.
_WITHIN = r"(?<![\w.~/\\-])"
_WHOLE = re.compile(rf"{_START}[^\r\n:,;]*")  # a sentence may begin with a path, and goes on after a colon
_QUOTED = re.compile(rf"(['\"“])({_START}[^'\"”\r\n]*)(?=['\"”])")
_BARE = re.compile(rf"{_WITHIN}{_START}[^\s'\"“”,;()<>|]*[/\\][^\s'\"“”,;()<>|]*")
_NO_PATHS = ("--tokens", "--prefix", "--suffix", "--silence")  # take texts, which may well look like paths


def portable(text: str) -> str:
    """A text with every absolute path in it cut down to its last part; a text that is one as a whole, too."""
    if _WHOLE.fullmatch(text):
        return _last(text)
    text = _QUOTED.sub(lambda found: found[1] + _last(found[2]), text)
    return _BARE.sub(lambda found: _last(found[0]), text)


def portable_command(words: Sequence[str]) -> str:
    """A command line whose paths are cut down likewise; what a person wrote as text is left as it is."""
    shown, before = list[str](), ""
    for word in words:
        name, equals, value = word.partition("=")
        if before in _NO_PATHS or (equals and name in _NO_PATHS):
            at = len(name) + 1 if equals and name in _NO_PATHS else 0
            # A file of such texts is a path again.
            file = word[at:].startswith("@")
            shown.append(word[: at + 1] + portable(word[at + 1 :]) if file else word)
        elif name.startswith("-") and equals:
            shown.append(f"{name}={portable(value)}")
        else:
            shown.append(portable(word))
        before = word
    return shlex.join(shown)


def _last(path: str) -> str:
    """The last part of a path, with what a sentence puts behind it."""
    kept = path.rstrip("/\\")
    return re.split(r"[/\\]", kept)[-1] or path
