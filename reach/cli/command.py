"""From a function of settings objects to a command: its parameters are the options of their classes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from reach.cli.say import speaking
from reach.options import Field, Options, options_of, settings_from
from reach.progress import hushed
from reach.runs.remote import RemoteFolder

_log = logging.getLogger(__name__)
_PATH = "PATH"


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
                with ExitStack() as stack:
                    function(**{name: _at_hand(one, stack) for name, one in settings.items()})
        except KeyboardInterrupt:
            raise Interrupted from None

    signature = inspect.Signature(sorted(entries, key=lambda entry: entry.default is not entry.empty))
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {entry.name: entry.annotation for entry in entries}
    del run.__wrapped__
    return run


def _at_hand(settings: Options, stack: ExitStack) -> Options:
    """Settings in which folders at URLs are folders of this machine that stand for them.

    Raises:
        BadInput: see `mirrored`.
    """
    changed = {}
    for field in options_of(type(settings)):
        value = getattr(settings, field.name)
        given = value if field.several else (value,)
        if field.option.url not in ("", "place") and any(isinstance(one, RemoteFolder) for one in given):
            places = [_copy(one, field, stack) if isinstance(one, RemoteFolder) else one for one in given]
            changed[field.name] = tuple(places) if field.several else places[0]
    return replace(settings, **changed) if changed else settings


def _copy(place: RemoteFolder, field: Field, stack: ExitStack) -> Path:
    from reach.runs.contents import LISTED, Wanted
    from reach.runs.mirror import mirrored
    from reach.trace.gather import DEEPEST

    url = field.option.url
    wanted = {"read": Wanted(journals=False), "runs": Wanted(deep=DEEPEST), "list": LISTED}.get(url, Wanted())
    return stack.enter_context(mirrored(place, wanted, alone=url == "write"))


def _parameter(field: Field) -> inspect.Parameter:
    """A parameter that is None where the option is not given: the settings class has the defaults."""
    option = field.option
    # A Path would make s3:/ of s3://; the settings class reads the text.
    kind: Any = str if field.kind is Path else field.kind
    metavar = option.metavar or (_PATH if field.kind is Path and option.flags else None)
    if field.several:
        kind = list[str] if field.kind is Path or not option.flags else str
    if not option.flags:
        entry = typer.Argument(help=option.help, show_default=False, metavar=metavar)
    else:
        entry = typer.Option(
            *option.flags.split(), help=option.help + field.shown_default, show_default=False, metavar=metavar
        )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.required else None,
        annotation=Annotated[kind if field.required else kind | None, entry],
    )
