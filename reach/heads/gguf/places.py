"""Which files a GGUF model is: one, or parts that are numbered in their names."""

from __future__ import annotations

import re
from pathlib import Path

from reach.heads.gguf.header import MAGIC
from solvers.errors import BadInput

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_SHOWN = 8


def is_gguf(file: Path) -> bool:
    """Whether a file is meant as GGUF, by its name or its first bytes."""
    if file.suffix == ".gguf":
        return True
    try:
        with file.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def gguf_in_folder(folder: Path) -> Path | None:
    """The GGUF model of a folder that is no model folder otherwise, the first of its parts; none without one.

    Raises:
        BadInput: there are several.
    """
    if (folder / "config.json").exists():
        return None
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".gguf" and path.is_file())
    except OSError as error:
        raise BadInput(f"{folder} cannot be read: {error.strerror or error}") from None
    parts = [_PART.fullmatch(name) for name in names]
    models = {
        name if part is None else (part["stem"], part["count"]) for name, part in zip(names, parts, strict=True)
    }
    if len(models) > 1:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise BadInput(f"{folder} holds several GGUF files: name one of {', '.join(names[:_SHOWN])}{more}")
    return folder / names[0] if names else None


def parts_of(file: Path) -> tuple[Path, ...]:
    """All files of the model that a file is, or is a part of, in order.

    Raises:
        BadInput: a part is missing.
    """
    part = _PART.fullmatch(file.name)
    if part is None:
        return (file,)
    count = int(part["count"])
    parts = tuple(file.with_name(f"{part['stem']}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1))
    missing = [one.name for one in parts if not one.is_file()]
    if missing or not 1 <= int(part["number"]) <= count:
        lacking = ", ".join(missing[:_SHOWN]) or f"part {part['number']}"
        raise BadInput(f"{file.parent}: {lacking} of a model in {count} parts is missing: copy or download it too")
    return parts
