"""Which head a command is about: the options that say so, and where its runs go by default."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from reach.heads.overrides import HeadOverrides
from reach.options import Option, Options, options_of, readable_path

if TYPE_CHECKING:
    from reach.loading import Loading

_LONGEST_WORD, _LONGEST_NAME = 40, 150


@dataclass(frozen=True)
class HeadDescription(HeadOverrides):
    """What may be said of a head, whichever model it is from."""

    domain: Annotated[
        str | None,
        Option(
            "--domain",
            "norm, free, ball:R, box:LO,HI, ellipsoid:FILE or ball-box:R,LO,HI. Default: the model's own.",
            shapes=True,
        ),
    ] = None
    revision: Annotated[str | None, Option("--revision", "Branch, tag or commit of a Hub model.", shapes=True)] = None
    adapter: Annotated[
        str | None,
        Option(
            "--adapter", "merge or ignore the adapter beside a model, or merge the one in the folder named here. "
            "Default: refuse one on the head.", shapes=True,
        ),
    ] = None  # fmt: skip
    self_check: Annotated[bool, Option("--self-check", "First run the live model and compare it with the head.")] = (
        False
    )


@dataclass(frozen=True)
class HeadOptions(HeadDescription):
    """The head options of a command that takes a model."""

    model: Annotated[
        str | None,
        Option(
            "",
            "Model folder, GGUF file, bare head, or Hub id. Default: the model of the run in --out (of a scan: with "
            "--resume), else the demo model.",
        ),
    ] = None
    head: Annotated[Path | None, Option("--head", "A bare head: .npz or .safetensors with W, b, gamma, beta.")] = None

    @property
    def named(self) -> bool:
        """Whether a model was named at all."""
        return self.model is not None or self.head is not None

    def loading(self) -> tuple[str, Loading]:
        """The model's name, and what finds it again from any working directory.

        Raises:
            BadInput: two heads are named, or what is named is no file or folder that could hold one.
        """
        from reach.loading import what_to_load

        return what_to_load(
            self.model, self.head, domain=self.domain, revision=self.revision, adapter=self.adapter,
            overrides=HeadOverrides(**self.given()),
        )  # fmt: skip


@dataclass(frozen=True)
class ManyHeadOptions(HeadDescription):
    """The head options of a command that takes any number of models."""

    models: Annotated[
        tuple[str, ...],
        Option(
            "",
            "Model folder, GGUF file, bare head, or Hub id; several of these, a folder that holds models such as "
            "checkpoints, or @FILE with one per line. Default: with --resume the model of the run in --out, else "
            "the demo model.",
            metavar="[MODEL]...",
        ),
    ] = ()
    head: Annotated[Path | None, Option("--head", "A bare head: .npz or .safetensors with W, b, gamma, beta.")] = None
    revisions: Annotated[
        str | None,
        Option("--revisions", "Several revisions of a Hub model: names, or patterns such as step*; with commas."),
    ] = None

    def of(self, model: str | None, revision: str | None = None) -> HeadOptions:
        """The options about one of the models."""
        said = {name: getattr(self, name) for name in (one.name for one in options_of(HeadDescription))}
        return HeadOptions(model=model, head=self.head, **{**said, "revision": revision or self.revision})


@dataclass(frozen=True)
class RunHeadOptions(HeadOptions):
    """The head options of a command that takes a run, whose model may be elsewhere now."""

    model: Annotated[str | None, Option("--model", "Where the model is now, if it has moved, or its Hub id.")] = None


def default_folder(name: str, *asked: Options) -> Path:
    """Where a run of a model goes: one folder per model and per what shapes the result.

    Args:
        name: the model as the user named it.
        asked: the options of the run; those that shape it and differ from their defaults are in the folder's name.
    """
    stem = Path(name.rstrip("/")).resolve().name if readable_path(name).exists() else name
    words = [folder_word(stem)]
    for options in asked:
        for field in options_of(type(options)):
            value = getattr(options, field.name)
            if field.option.shapes and value != field.default:
                words.append(_option_words(field.shown.lstrip("-"), value))
    return Path("runs") / _at_most("--".join(words), _LONGEST_NAME)


def _option_words(name: str, value: object) -> str:
    if name == "domain":
        return _at_most(_exactly(str(value)), _LONGEST_WORD)
    return name if value is True else _at_most(f"{name}-{_exactly(str(value))}", _LONGEST_WORD)


def _exactly(text: str) -> str:
    """A text as part of a folder's name, told from all others that look like it there."""
    word = _plain(text.replace(":", "-"))
    return word if word == text.replace(":", "-") else f"{word}-{_digest(text)}"


def folder_word(name: str) -> str:
    """A model's name as that of a folder, with nothing that a file system could object to."""
    return _plain(name).strip("-.") or "model"


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]+", "--", text)


def _at_most(word: str, length: int) -> str:
    return (
        word if len(word.encode()) <= length else f"{word.encode()[:length].decode(errors='ignore')}-{_digest(word)}"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
