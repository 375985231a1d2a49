"""What a person may ask for: one definition of each option serves a settings class, the command line and the docs.

A settings class is a frozen dataclass on `Options`. A field annotated with an `Option` is also an option of the
commands that take the class, with the same default, range and words; other fields are for callers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from reach.runs.remote import RemoteFolder, is_url
from solvers.errors import BadInput

_FOUND: dict[type[Any], tuple[Field, ...]] = {}
_MOST = {int: 2**31 - 1, float: math.inf}
_SHOWN_CHARACTERS = 60
_LONGEST_NAME, _LONGEST_PATH = 255, 4095


@dataclass(frozen=True)
class Option:
    """How an option is written, what it means, and what it may be.

    Attributes:
        flags: its names, separated by spaces; none for an argument that is told by its place.
        help: one sentence for `--help`, the docs, and whoever reads the class.
        least, most: the smallest and the largest number allowed.
        above: numbers must be larger than this.
        within: both ends of a range, which belong to it if `ends`.
        choices: the words allowed.
        noun: what one of several values is called.
        read: the value that a text means; raises BadInput. Without it the text is read as the field's type.
        otherwise: what the command line takes where the option is not given; none means the field's default.
        shapes: whether another value makes another result, which by default goes to another folder.
        metavar: how the value is called in the help.
        url: what a path may be at a URL: a run that is read or written, a folder of runs that is read or listed, or a
            place that the command goes to itself; empty for what lies on this machine.
    """

    flags: str
    help: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    within: tuple[float, float] | None = None
    ends: bool = True
    choices: tuple[str, ...] = ()
    noun: str = ""
    read: Callable[[str], Any] | None = None
    otherwise: Callable[[], Any] | None = None
    shapes: bool = False
    metavar: str | None = None
    url: Literal["", "read", "write", "runs", "list", "place"] = ""


@dataclass(frozen=True)
class Field:
    """An option in its place: a field of a settings class."""

    name: str
    kind: type
    several: bool
    default: Any
    required: bool
    option: Option

    @property
    def shown(self) -> str:
        """How messages call it."""
        return self.option.flags.split(" ", maxsplit=1)[0].split("/")[0] or self.name.upper()

    @property
    def shown_default(self) -> str:
        """How its description ends where there is a default to show."""
        if self.option.otherwise is not None or self.default in (None, False, "", ()):
            return ""
        default = ",".join(map(str, self.default)) if self.several else str(self.default)
        return f" Default: {self.option.flags.split('/')[0] if self.default is True else default}."

    def value(self, given: Any) -> Any:
        """The field's value from what the command line was given.

        Raises:
            BadInput: a text cannot be read as what it must be.
        """
        if given is None:
            return self.default if self.option.otherwise is None else self.option.otherwise()
        if self.option.read is not None:
            return self.option.read(given)
        if self.several and self.kind is not Path:
            return self._parts(given) if self.option.flags else tuple(given)
        if self.kind is Path:
            return tuple(map(self._place, given)) if self.several else self._place(given)
        return given

    def check(self, value: Any) -> None:
        """Refuse a value, or one of several, that is out of range or unknown.

        Raises:
            BadInput: it is.
        """
        if value is None or self.kind is Path:
            return
        if self.several and not value and self.default:
            raise BadInput(f"{self.shown}: give at least one {self.option.noun or 'value'}")
        for one in value if self.several else (value,):
            fault = self._word_fault(one) if isinstance(one, str) else self._number_fault(one)
            if fault is not None:
                raise BadInput(fault)

    def _place(self, text: str) -> Path | RemoteFolder:
        if not is_url(text):
            return readable_path(text)
        place = RemoteFolder(text)
        if not self.option.url:
            raise BadInput(f"{self.shown} {place}: is a URL; here a path on this machine is needed")
        return place

    def _parts(self, text: str) -> tuple[Any, ...]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if self.kind is str:
            known = [word for word in self.option.choices if word in parts]
            return (*known, *(part for part in parts if part not in known))
        try:
            return tuple(sorted({self.kind(part) for part in parts}))
        except ValueError:
            numbers = "whole numbers" if self.kind is int else "numbers"
            raise BadInput(f"{self.shown} {short(text)}: give {numbers}, separated by commas") from None

    def _word_fault(self, word: str) -> str | None:
        option = self.option
        if not option.choices or word in option.choices:
            return None
        known = ", ".join(option.choices)
        if not self.several:
            return f"{self.shown} {short(word)}: choose one of {known}"
        return f"{self.shown}: there is no {option.noun} {short(word)!r}; there are {known}"

    def _number_fault(self, value: float) -> str | None:
        option, most = self.option, self.option.most
        if most is None:
            most = _MOST.get(self.kind)
        subject, finite = f"{self.shown} must", ""
        if option.noun:
            subject, finite = f"{self.shown}: {option.noun} must", "a finite number "
        said = "" if self.kind not in _MOST else f", not {short(value)}"
        if option.within is not None:
            low, high = option.within
            inside = low <= value <= high if option.ends else low < value < high
            return None if inside else f"{subject} lie between {low:g} and {high:g}{said}"
        if option.above is not None and not value > option.above:
            return f"{subject} be {finite}> {option.above:g}{said}"
        if option.least is not None and not value >= option.least:
            return f"{subject} be at least {option.least:g}{said}"
        if most is not None and not value <= most:
            return f"{subject} be at most {most:.10g}{said}"
        return None if value in (True, False) or math.isfinite(value) else f"{subject} be a finite number{said}"


@dataclass(frozen=True)
class Options:
    """Base of the settings classes: what the options do not allow is refused wherever an object is made."""

    def __post_init__(self) -> None:
        for field in options_of(type(self)):
            field.check(getattr(self, field.name))

    def record(self) -> dict[str, Any]:
        """As a run's record keeps it."""
        return asdict(self)


def options_of(kind: type[Any]) -> tuple[Field, ...]:
    """The options of a settings class: its own in their order, then those of the classes that it builds on."""
    if kind not in _FOUND:
        _FOUND[kind] = tuple(_fields_with_options(kind))
    return _FOUND[kind]


def _fields_with_options(kind: type[Any]) -> Iterator[Field]:
    hints = get_type_hints(kind, include_extras=True)
    places = {
        name: place
        for place, one in reversed(list(enumerate(kind.__mro__)))
        for name in vars(one).get("__annotations__", ())
    }
    for field in sorted(fields(kind), key=lambda field: places[field.name]):
        if get_origin(hints[field.name]) is Annotated:
            hint, *notes = get_args(hints[field.name])
            either = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
            inner = next(part for part in either if part is not NoneType)
            several = get_origin(inner) is tuple
            required = field.default is MISSING
            option = next(note for note in notes if isinstance(note, Option))
            default = None if required else field.default
            yield Field(field.name, get_args(inner)[0] if several else inner, several, default, required, option)


def settings_from(kind: type[Options], given: dict[str, Any]) -> Any:
    """An object of a settings class from what the command line was given; None stands for what was not.

    Raises:
        BadInput: a value cannot be read, or is not allowed.
    """
    return kind(**{field.name: field.value(given.get(field.name)) for field in options_of(kind)})


def readable_path(text: str | Path) -> Path:
    """A path that a person wrote, with `~` in its place.

    Raises:
        BadInput: no file can have such a name.
    """
    said = short(str(text))
    try:
        path = Path(text).expanduser()
        length = max((len(os.fsencode(part)) for part in path.parts), default=0)
        too_long = length > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH
    except RuntimeError:
        raise BadInput(f"{said}: there is no such user; write the folder in full") from None
    except UnicodeEncodeError:
        raise BadInput(f"{said}: no file can have such a name") from None
    if too_long or "\0" in str(text):
        raise BadInput(f"{said}: no file can have {'so long a' if too_long else 'such a'} name")
    return path


def default_jobs() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device(name: str) -> str:
    """A device that is there."""
    import torch

    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda"):
        raise BadInput(f"--device: {short(name)!r} is neither cpu nor cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine has no usable GPU, or PyTorch was built without CUDA; use cpu")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if ":" in name and not (number.isascii() and number.isdigit() and len(number) < 4 and int(number) < count):
        raise BadInput(f"--device: {short(name)!r} is not here; write {kind}, or {kind}:0 to {kind}:{count - 1}")
    return name


def short(value: object) -> str:
    """A value in a message, whatever its size."""
    try:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    except ValueError:  # of an integer with thousands of digits
        text = "a huge number"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


Jobs = Annotated[int, Option("--jobs", "Cores to use. Default: all.", least=1, most=4096, otherwise=default_jobs)]
Device = Annotated[str, Option("--device", "cpu or cuda, for the batched stages.", read=_device)]
Seed = Annotated[int, Option("--seed", "Of all that is random.", least=0)]
Tokens = Annotated[
    str | None,
    Option("--tokens", "Ids, ranges 10-20, strings, @file; separated by commas. Default: all.", shapes=True),
]
Force = Annotated[bool, Option("--force", "Overwrite what is there.")]
Resume = Annotated[bool, Option("--resume", "Go on with what was interrupted.")]
NoReport = Annotated[bool, Option("--no-report", "Do not write the page.")]


@dataclass(frozen=True)
class OutputOptions(Options):
    """How a command says what came of it."""

    as_json: Annotated[bool, Option("--json", "Print the result as JSON.")] = False
    quiet: Annotated[bool, Option("--quiet -q", "No progress bars.")] = False
    verbose: Annotated[bool, Option("--verbose -v", "Say what is read and done, and when.")] = False

    @property
    def still(self) -> bool:
        """Whether there is to be no progress bar."""
        return self.quiet or self.as_json
