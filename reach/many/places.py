"""The models that a command line names: folders of checkpoints, revisions on the Hub, lists in files."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from reach.bounded import read_bytes
from reach.head_options import folder_word
from reach.natural_order import in_order
from reach.options import readable_path, short
from solvers.errors import BadInput

_DEEPEST = 4
"""How far below a folder its models may lie."""
_MOST_LIST = 2**24
_MARKS = ("config.json", "adapter_config.json", "*.gguf")
"""What lies in the folder of a model."""


@dataclass(frozen=True)
class Place:
    """Where one model is, and where its run goes.

    Attributes:
        model: its folder, file or Hub id.
        revision: of a Hub model.
        name: of its run's folder, relative to the folder of all runs.
        series: models of one series follow each other, such as the checkpoints of a training run.
    """

    model: str
    revision: str | None
    name: PurePosixPath
    series: str

    @property
    def shown(self) -> str:
        """How messages call it."""
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


def places(models: tuple[str, ...], revisions: str | None = None) -> list[Place]:
    """All models that are meant, those of a series one after the other in the order of their numbers.

    Args:
        models: folders of models, folders that hold such folders, GGUF files, bare heads, Hub ids with or without
            `@revision`, and `@FILE` with one of these in every line.
        revisions: of every Hub model: names and patterns such as `step*`, separated by commas.

    Raises:
        BadInput: a list or the Hub cannot be read, a pattern fits no revision, or a model is named twice.
    """
    found: list[Place] = []
    for named in _lines(models):
        found += _of(named, revisions)
    twice = [place for place, count in Counter((one.model, one.revision) for one in found).items() if count > 1]
    if twice:
        raise BadInput(f"{twice[0][0]}: named twice; name every model once")
    return _told_apart(found)


def several(models: tuple[str, ...], revisions: str | None) -> bool:
    """Whether more than one model may be meant."""
    if len(models) != 1 or revisions is not None:
        return len(models) > 1 or revisions is not None
    if models[0].startswith("@"):
        return True
    path = readable_path(models[0])
    return path.is_dir() and not _is_model(path) and bool(_below(path))


def _lines(models: tuple[str, ...]) -> Iterator[str]:
    for named in models:
        if not named.startswith("@"):
            yield named
            continue
        file = readable_path(named[1:])
        text = read_bytes(file, again="name a file with one model in every line", most=_MOST_LIST)
        try:
            lines = [line.strip() for line in text.decode("utf-8-sig").splitlines()]
        except UnicodeDecodeError:
            raise BadInput(f"{file}: is no text; name a file with one model in every line") from None
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise BadInput(f"{file}: names no model; write one in every line")
        yield from lines


def _of(named: str, revisions: str | None) -> list[Place]:
    path = readable_path(named)
    if path.is_dir() and not _is_model(path):
        inside = _below(path)
        root = path.resolve().name
        return [
            Place(str(one), None, PurePosixPath(root, *one.relative_to(path).parts), str(one.parent))
            for one in inside
        ] or [_local(path)]
    if path.exists():
        return [_local(path)]
    repo, mark, revision = named.rpartition("@")
    repo = repo if mark else named
    wanted = [revision] if mark else [None] if revisions is None else _matching(repo, revisions)
    name = PurePosixPath(folder_word(repo))
    return [Place(repo, one, name / folder_word(one) if one else name, repo) for one in wanted]


def _local(path: Path) -> Place:
    return Place(str(path), None, PurePosixPath(folder_word(path.resolve().name)), str(path.resolve().parent))


def _is_model(folder: Path) -> bool:
    return any(next(folder.glob(mark), None) is not None for mark in _MARKS)


def _below(folder: Path, deepest: int = _DEEPEST) -> list[Path]:
    """The models in a folder; a folder named as its neighbours are, but for a number, is meant to be one, too.

    So a checkpoint that was half written is complained of by name, and not left out in silence.
    """
    try:
        inside = sorted(
            (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")),
            key=lambda entry: in_order(entry.name),
        )
    except OSError:
        return []
    models = {entry for entry in inside if _is_model(entry)}
    patterns = {_pattern(entry.name) for entry in models}
    found = []
    for entry in inside:
        if entry in models or _pattern(entry.name) in patterns:
            found.append(entry)
        elif deepest > 1:
            found += _below(entry, deepest - 1)
    return found


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _matching(repo: str, revisions: str) -> list[str]:
    """The revisions of a repository that are named or fit a pattern."""
    from reach.heads.hub import revisions_of

    patterns = [part.strip() for part in revisions.split(",") if part.strip()]
    if not patterns:
        raise BadInput("--revisions: give names or patterns, such as step*")
    known = revisions_of(repo) if any(mark in pattern for pattern in patterns for mark in "*?[") else patterns
    found = [ref for ref in sorted(known, key=in_order) if any(fnmatch.fnmatchcase(ref, one) for one in patterns)]
    if not found:
        raise BadInput(f"{repo} on the Hub has no revision that fits {short(revisions)}; there are {_few(known)}")
    return found


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _told_apart(found: list[Place]) -> list[Place]:
    """The same with names that are all different: the folder above is part of a name that comes twice."""
    count = Counter(one.name for one in found)
    named = [
        replace(one, name=one.name.with_name(f"{folder_word(Path(one.series).name)}--{one.name.name}"))
        if count[one.name] > 1
        else one
        for one in found
    ]
    count = Counter(one.name for one in named)
    return [
        replace(one, name=one.name.with_name(f"{one.name.name}-{hashlib.sha256(one.shown.encode()).hexdigest()[:6]}"))
        if count[one.name] > 1
        else one
        for one in named
    ]
