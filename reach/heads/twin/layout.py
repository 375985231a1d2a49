"""The layout of a head whose architecture has no entry: learnt from a twin of its class, and kept for next time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from reach.heads.config import ModelConfig
from reach.heads.head_class import has_head
from reach.heads.layout import HeadLayout, LearntSettings
from reach.heads.twin.build import NoTwin, full_size
from reach.heads.twin.learn import Learnt, NotUnderstood, learn
from reach.heads.twin.names import stored_as
from reach.heads.twin.shrink import immoderate
from solvers.errors import BadInput

_FORMAT = 1
"""Raised when what is learnt of a class changes, so that nothing older is believed."""


_TASKS = ("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MASKED_LM")
"""Transformers' mappings of classes with a head over the vocabulary."""


class NotLearnt(BadInput):
    """No layout could be learnt from a twin; says why."""


def twin_layout(config: ModelConfig, names: tuple[str, ...] | None) -> HeadLayout:
    """Learn where a model's head lies, and what it does, from a tiny random model of its class.

    Args:
        config: the model's settings.
        names: of its stored tensors, where they are known.

    Raises:
        NotLearnt: transformers is missing or does not know the class, or no twin could be built or understood.
    """
    place = _place(config, names)
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(place.read_bytes(), type=HeadLayout)
    found = _learn(config, names)
    with contextlib.suppress(OSError):  # nothing but time is lost where it cannot be kept
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(f".{os.getpid()}.partial")
        partial.write_bytes(msgspec.json.encode(found))
        partial.replace(place)
    return found


def cache_folder() -> Path:
    """Where layouts are kept: `token-reachability/twins` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "token-reachability" / "twins"


def class_of(config: ModelConfig) -> Any:
    """The class of transformers that a config means.

    Raises:
        NotLearnt: there is none.
    """
    try:
        import transformers
        from transformers.models.auto import modeling_auto
    except ImportError:
        raise NotLearnt("learning it from the class's own code needs: pip install transformers") from None
    if config.class_name is not None:
        found = getattr(transformers, config.class_name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            own_type = getattr(getattr(found, "config_class", None), "model_type", "")
            if config.model_type and config.model_type != own_type:
                raise NotLearnt(f"its model_type is not that of {config.class_name}, {own_type}")
            return found
        own = "the model brings code of its own, which is never run, and " if config.own_code else ""
        raise NotLearnt(f"{own}transformers {_version('transformers')} has no class {config.class_name}")
    for task in _TASKS:
        name = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", {}).get(config.model_type)
        if isinstance(name, str) and hasattr(transformers, name):
            return getattr(transformers, name)
    raise NotLearnt(f"transformers {_version('transformers')} has no language model of type {config.model_type!r}")


def _language_models() -> set[str]:
    """The classes that transformers itself takes for language models."""
    from transformers.models.auto import modeling_auto

    names = (value for task in _TASKS for value in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES").values())
    return {name for value in names for name in ((value,) if isinstance(value, str) else value)}


def _learn(config: ModelConfig, names: tuple[str, ...] | None) -> HeadLayout:
    kind = class_of(config)
    if has_head(kind.__name__) is False and kind.__name__ not in _language_models():
        raise NotLearnt(f"{kind.__name__} is a model without a head over the vocabulary")
    wild = immoderate(config.whole)
    if wild is not None:
        raise NotLearnt(f"no model has so many parts: {wild}")
    try:
        said, _ = kind.config_class.get_config_dict(str(config.path), local_files_only=True)
        entries = kind.config_class.from_dict(said).to_dict()
    except Exception as error:  # a class of transformers may raise anything
        raise NotLearnt(f"transformers cannot read its config: {' '.join(str(error).split())[:200]}") from None
    try:
        found = learn(kind, entries)
    except NoTwin as error:
        raise NotLearnt(f"no tiny model of {kind.__name__} could be built and run: {error}") from None
    except NotUnderstood as error:
        raise NotLearnt(
            f"a tiny model of {kind.__name__} was run, and its head is none that is known: {error}"
        ) from None
    return _as_layout(found, kind, entries, names)


def _as_layout(found: Learnt, kind: Any, entries: dict[str, Any], names: tuple[str, ...] | None) -> HeadLayout:
    rows, renamed = None, None
    with contextlib.suppress(NoTwin):
        whole = full_size(kind, entries)
        rows, renamed = _rows(whole), _renaming(whole)

    def stored(*live: str | None) -> tuple[str, ...]:
        wanted = tuple(name for name in live if name is not None)
        there = tuple(name for one in wanted for name in stored_as(one, names or (), renamed))
        return tuple(dict.fromkeys((*there, *wanted)))

    settings = LearntSettings(
        eps=found.eps,
        factor=found.factor,
        power=found.power,
        softcap=found.softcap,
        rows=rows,
        beside=stored(*found.others),
        note=found.note,
    )
    own = tuple(name for name in found.weight if name not in found.embedding)
    return HeadLayout(
        embedding=stored(*found.embedding),
        output=stored(*(own or found.weight)),
        norm=found.norm,
        gamma=stored(found.gamma),
        beta=stored(found.beta),
        bias=stored(*found.bias),
        projection=stored(found.projection),
        eps_default=found.eps,
        tied=found.tied,
        learnt=settings,
        found_by=f"tiny {found.class_name} of transformers {_version('transformers')}",
    )


def _rows(model: Any) -> int | None:
    weight = getattr(model.get_output_embeddings(), "weight", None)
    return None if weight is None else int(weight.shape[0])


def _renaming(model: Any) -> Callable[[str], str] | None:
    """How transformers renames stored tensors of a model when it loads them, if it can be asked."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming, rename_source_key

        steps = [step for step in get_model_conversion_mapping(model) if isinstance(step, WeightRenaming)]
        live = dict.fromkeys(model.state_dict(), 1)
        return lambda name: rename_source_key(name, steps, [], model.base_model_prefix, live)[0]
    except Exception:  # no such function in this version, or one that takes something else
        return None


def _place(config: ModelConfig, names: tuple[str, ...] | None) -> Path:
    told = json.dumps([config.whole, sorted(names or ()), names is None], sort_keys=True, default=str)
    versions = [_version(package) for package in ("transformers", "torch")]
    key = hashlib.sha256(json.dumps([_FORMAT, versions, told]).encode()).hexdigest()[:32]
    kind = "".join(letter for letter in config.architecture if letter.isalnum() or letter in "_-")[:80]
    return cache_folder() / f"{kind}-{key}.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
