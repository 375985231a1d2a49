"""From a function of settings objects to a command: its parameters are the options of their classes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from reach.cli.say import speaking
from reach.options import Field, Options, options_of, settings_from
from reach.progress import hushed

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """Ctrl-C, under a name that typer lets through."""


def command_of(function: Callable[..., None]) -> Callable[..., None]:
    """What typer takes in place of a function whose parameters are all settings objects.

    Args:
        function: its docstring is the command's help; each parameter is annotated with a class of `Options`, and no
            two of the classes share a field's name.
    """
    hints = get_type_hints(function)
    kinds: dict[str, type[Options]] = {name: hints[name] for name in inspect.signature(function).parameters}
    entries = [_parameter(field) for kind in kinds.values() for field in options_of(kind)]

    @wraps(function)
    def run(**given: Any) -> None:
        try:
            settings = {name: settings_from(kind, given) for name, kind in kinds.items()}
            with speaking(verbose=bool(given.get("verbose"))), hushed(quiet=bool(given.get("quiet"))):
                for name, one in settings.items():
                    _log.info("%s: %s", name, ", ".join(f"{key} {value}" for key, value in one.record().items()))
                function(**settings)
        except KeyboardInterrupt:
            raise Interrupted from None

    signature = inspect.Signature(sorted(entries, key=lambda entry: entry.default is not entry.empty))
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in entries}
    del run.__wrapped__
    return run


def _parameter(field: Field) -> inspect.Parameter:
    """A parameter that is None where the option is not given: the settings class has the defaults."""
    option = field.option
    kind: Any = field.kind
    if field.several:
        kind = list[Path] if field.kind is Path else str if option.flags else list[str]
    if not option.flags:
        entry = typer.Argument(help=option.help, show_default=False, metavar=option.metavar)
    else:
        entry = typer.Option(
            *option.flags.split(), help=option.help + field.shown_default, show_default=False, metavar=option.metavar
        )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.required else None,
        annotation=Annotated[kind if field.required else kind | None, entry],
    )
