"""Text on its way to a terminal: nothing in it may move the cursor, hide what follows or turn it round."""

from __future__ import annotations

import logging
import unicodedata

_KEPT_SEPARATOR = "Zs"  # spaces of any width only take up room


def harmless(text: object) -> str:
    """One line for a terminal: control, format and direction characters as backslash escapes, line ends too.

    Names of models and tensors, domains, warnings and file names come from files that others may have made. Letters
    of every script stay as they are.
    """
    line = str(text)
    return line if line.isprintable() else "".join(map(_harmless_character, line))


def _harmless_character(character: str) -> str:
    kind = unicodedata.category(character)
    if kind[0] not in "CZ" or kind == _KEPT_SEPARATOR:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class HarmlessRecord(logging.LogRecord):
    """A line of some library's log, which may name tensors or files; a command makes all its records of this kind."""

    def getMessage(self) -> str:  # noqa: N802 (the name that it has in logging)
        """The message, harmless line by line."""
        return "\n".join(harmless(line) for line in super().getMessage().split("\n"))
