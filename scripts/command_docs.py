"""Writes docs/commands.md: every option of every command, from the settings classes that define them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_type_hints

from reach.cli.app import COMMANDS
from reach.options import Field, options_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
HEAD = """# Commands

Every command takes `-h`; `reach --version` says which version this is, and
`reach --install-completion` teaches them to your shell.
"""


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    for function in COMMANDS:
        hints = get_type_hints(function)
        kinds = [hints[name] for name in inspect.signature(function).parameters]
        fields = [field for kind in kinds for field in options_of(kind)]
        arguments = " ".join(_argument(field) for field in fields if not field.option.flags)
        name = f"reach {function.__name__.replace('_', '-')}"
        words = " ".join(inspect.cleandoc(function.__doc__ or "").split())
        rows = [f"| {_cell(field)} | {_words(field)} |" for field in fields]
        parts += [
            f"## {name}",
            f"`{name} {arguments}`".replace(" `", "`"),
            words,
            "\n".join(["| | |", "|---|---|", *rows]),
        ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _argument(field: Field) -> str:
    name = field.option.metavar or field.shown + ("..." if field.several else "")
    return name if field.required else f"[{name}]"


def _cell(field: Field) -> str:
    return f"`{field.option.flags}`".replace(" ", "`, `") if field.option.flags else field.shown


def _words(field: Field) -> str:
    words = (field.option.help + field.shown_default).replace("|", "\\|")
    return words if not field.option.choices else f"{words} One of {', '.join(field.option.choices)}."


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
