"""The `loading` entry of a manifest: what finds the head of a run again. Others may have written it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from reach.demo import DEMO_NAME
from reach.heads.overrides import HeadOverrides
from reach.runs.folder import RunFolder
from solvers.errors import BadInput

_TEXTS = ("model", "domain", "revision", "adapter")
_OVERRIDES = {field.name: (int, float) if field.name == "eps" else (str,) for field in fields(HeadOverrides)}


def loading_of(run: RunFolder) -> dict[str, Any]:
    """The entry with `model`, `domain`, `revision` and `adapter` (texts or none) and `overrides`, among others.

    Raises:
        BadInput: the entry or something in it is of another kind, or an override is not known.
    """
    loading = _of_kind(run, "loading", run.manifest.get("loading"), (dict,)) or {}
    texts = {name: _of_kind(run, f"loading.{name}", loading.get(name), (str,)) for name in _TEXTS}
    overrides = _of_kind(run, "loading.overrides", loading.get("overrides"), (dict,)) or {}
    for name, value in overrides.items():
        _of_kind(run, f"loading.overrides.{name}", value, _OVERRIDES.get(name, ()))
    given = {name: value for name, value in overrides.items() if value is not None}
    return {**loading, **texts, "overrides": given}


def is_at_hand(model: str) -> bool:
    """Whether a model's name leads to something on this machine: a folder, a file or the demo model."""
    return model == DEMO_NAME or Path(model).is_dir() or Path(model).is_file()


def _of_kind(run: RunFolder, name: str, value: Any, kinds: tuple[type, ...]) -> Any:
    known = value is None or (isinstance(value, kinds) and not isinstance(value, bool))
    if not known or not kinds:
        raise BadInput(f"{run.path / 'manifest.json'}: {name} is {value!r}, which makes no sense there; scan again")
    return value
