"""The `reach` command: its list of commands, and how it ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer

from reach.cli.check import check
from reach.cli.command import Interrupted, command_of
from reach.cli.known import heads
from reach.cli.repair import repair
from reach.cli.runs import diff, export, report, verify
from reach.cli.say import EXIT_BAD_INPUT, EXIT_INTERRUPTED, complain, say
from reach.cli.scan import scan
from reach.cli.solvers import compare_solvers, solvers
from reach.cli.studies import interference, search
from reach.cli.trace import trace
from reach.terminal import HarmlessRecord
from solvers.errors import BadInput

COMMANDS: tuple[Callable[..., None], ...] = (
    scan, check, verify, report, diff, export, trace, interference, search, compare_solvers, solvers, heads, repair,
)  # fmt: skip
"""Every command, in the order of the help; a function `a_b` is the command `a-b`."""

app = typer.Typer(
    help="Which tokens can a language model never say? A proof for every token of the vocabulary.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _function in COMMANDS:
    app.command(_function.__name__.replace("_", "-"))(command_of(_function))

# typer has had its own copy of click for some time, and does not export this class of it.
_UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"reach {version('token-reachability')}")
        raise typer.Exit


@app.callback()
def _before_commands(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    del version


def main(arguments: list[str] | None = None) -> None:
    """Run the command; one clear line and exit code 2 on bad input."""
    given = sys.argv[1:] if arguments is None else arguments
    logging.setLogRecordFactory(HarmlessRecord)
    try:
        code = app(args=given, prog_name="reach", standalone_mode=False)
    except BadInput as error:
        complain(str(error))
    except _UsageError as error:
        complain(_usage_line(error, given))
    except (KeyboardInterrupt, Interrupted, typer.Abort):
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        sys.stderr.write(
            "\nreach: interrupted; what was finished is kept, go on with the same command (a scan: with --resume)\n"
        )
    raise SystemExit(code or 0)


def _usage_line(error: Exception, given: list[str]) -> str:
    """What is wrong with an option or a command, and where to read about it."""
    message = cast(Any, error).format_message().strip().rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help; empty where rich has printed it
        sys.stderr.write(f"{message}\n" if message else "")
        raise SystemExit(EXIT_BAD_INPUT)
    commands = [command.name for command in app.registered_commands]
    about = f"reach {given[0]}" if given and given[0] in commands else "reach"
    return f"{message[:1].lower()}{message[1:]}{' See' if message.endswith('?') else '; see'} '{about} --help'"
