"""An adapter beside a model, or in a folder of its own: does it change the head, and what is to be done about it?

Adapters are those of the PEFT library: `adapter_config.json` and `adapter_model.safetensors`. Whether one changes the
head is told by the names of its own tensors and by what its config aims at; either is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reach.heads.config import ModelConfig, model_json
from reach.heads.files import LocalFiles, ModelFiles, Unreachable
from reach.heads.layout import HeadLayout
from reach.heads.overrides import NONE, HeadOverrides
from reach.heads.tensor_names import bare_path, in_module, is_head_like, module_of, some
from reach.heads.weights import StoredTensors
from reach.options import readable_path
from solvers.errors import BadInput

MERGE, IGNORE = "merge", "ignore"
"""What can be done with the adapter beside a model; any other choice is the folder of an adapter to be merged."""

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"

_PREFIX = "base_model.model."
"""What PEFT writes before the model's own names."""


def adapter_choice(text: str | None) -> str | None:
    """Read the word of the command line: `merge` or `ignore`, or an adapter's folder, which is given back in full.

    Raises:
        BadInput: it is another word, and no folder either.
    """
    if text is None or text in (MERGE, IGNORE):
        return text
    folder = readable_path(text)
    if not folder.is_dir():
        raise BadInput(
            f"--adapter {text}: no such folder: choose {MERGE} or {IGNORE} for the adapter beside the model, or give "
            f"the folder of another one, which holds {CONFIG}"
        )
    return str(folder.resolve())


@dataclass(frozen=True)
class HeadParts:
    """The modules that a head is made of, by the bare paths of `tensor_names`.

    Attributes:
        weight: those that may hold the output matrix.
        embedding: those of the input embedding, where it is or may be the output matrix too.
        others: those of the norm, the bias and the projection.
    """

    weight: frozenset[tuple[str, ...]]
    embedding: frozenset[tuple[str, ...]]
    others: frozenset[tuple[str, ...]]

    @property
    def all(self) -> frozenset[tuple[str, ...]]:
        """Every one of them."""
        return self.weight | self.embedding | self.others


@dataclass(frozen=True)
class Adapter:
    """An adapter as it is stored.

    Attributes:
        place: its config's place, for messages.
        config: its settings.
        tensors: its tensors.
        path_of: the name of each tensor to the path in the model it was made for.
        parts: the modules of the head.
        changes: the tensors that lie on the head.
        aims: the words of its config that mean a module of the head.
        beside: whether it lies beside the model; else the user named its folder.
    """

    place: str
    config: Mapping[str, Any]
    tensors: StoredTensors
    path_of: Mapping[str, str]
    parts: HeadParts
    changes: tuple[str, ...]
    aims: tuple[str, ...]
    beside: bool = True

    @property
    def or_else(self) -> str:
        """What a person can do who wants the head without it."""
        return f"--adapter {IGNORE}" if self.beside else "leave --adapter out"


@dataclass(frozen=True)
class AdapterVerdict:
    """What was decided about a model's adapter.

    Attributes:
        merge: the adapter, where the head is to be changed by it.
        given: the adapter whose folder the user named, whether or not it changes the head; or none.
        notes: what the user should know.
    """

    merge: Adapter | None = None
    given: Adapter | None = None
    notes: tuple[str, ...] = field(default=())


def settle_adapter(
    files: ModelFiles,
    config: ModelConfig,
    layout: HeadLayout,
    overrides: HeadOverrides,
    choice: str | None,
) -> AdapterVerdict:
    """Decide about the adapter of a model. Reads names, and fetches no weights of the model.

    Args:
        files: the model's.
        config: its settings.
        layout: where its head lies.
        overrides: what the user says by hand.
        choice: what to do with the adapter beside it, or the folder of another one; see `adapter_choice`.

    Raises:
        BadInput: the adapter changes the head and nothing says what to do about it; or a merge was asked for where
            there is nothing to merge; or its files are missing or damaged; or two adapters change the head.
    """
    if choice is None or choice in (MERGE, IGNORE) or Path(choice).resolve() == files.folder.resolve():
        said = choice if choice in (None, IGNORE) else MERGE
        return _beside(files, config, layout, overrides, said)
    own = LocalFiles(Path(choice))
    place = f"{own.where}/{CONFIG}"
    path = own.find(CONFIG)
    if path is None:
        raise BadInput(f"--adapter {choice}: the folder has no {CONFIG}: give that of an adapter of the PEFT library")
    notes = _other_one(files, config, layout, overrides, place)
    settings = _read_config(path, place, beside=False)
    parts = _head_parts(config, layout, overrides)
    given = _adapter(own, place, settings, parts, tuple(_aims(settings, parts)), beside=False)
    if not given.changes and not given.aims:
        return AdapterVerdict(
            None, given, (*notes, f"{place}: the adapter does not change the head of {files.where}")
        )
    return AdapterVerdict(given, given, notes)


def _other_one(
    files: ModelFiles, config: ModelConfig, layout: HeadLayout, overrides: HeadOverrides, place: str
) -> tuple[str, ...]:
    """What is to be said of the adapter beside a model that another one is merged into.

    Raises:
        BadInput: it changes the head too.
    """
    try:
        return _beside(files, config, layout, overrides, None).notes
    except BadInput as error:
        raise BadInput(f"{error}; only one adapter can be merged here, so {place} cannot be as well") from None


def _beside(
    files: ModelFiles, config: ModelConfig, layout: HeadLayout, overrides: HeadOverrides, choice: str | None
) -> AdapterVerdict:
    """Decide about the adapter beside a model."""
    place = f"{files.where}/{CONFIG}"
    try:
        path = files.find(CONFIG)
    except Unreachable:
        if choice == MERGE:
            raise
        return AdapterVerdict(
            notes=(f"{place} is not in the Hub cache, and the Hub cannot be asked whether it exists",)
        )
    if path is None:
        if choice == MERGE:
            raise BadInput(f"--adapter merge: {files.where} has no {CONFIG}")
        return AdapterVerdict()
    if choice == IGNORE:
        return AdapterVerdict(
            notes=(
                f"{place}: the adapter beside the model is ignored, as asked: this is the head of the model alone",
            )
        )
    settings = _read_config(path, place)
    parts = _head_parts(config, layout, overrides)
    aims = tuple(_aims(settings, parts))
    if choice is None and aims:
        raise BadInput(_refusal(place, f"its {some(aims)}"))
    adapter = _adapter(files, place, settings, parts, aims)
    if choice is None and adapter.changes:
        raise BadInput(_refusal(place, some(adapter.changes)))
    if not adapter.changes and not aims:
        return AdapterVerdict(notes=(f"{place}: the adapter beside the model does not change its head",))
    return AdapterVerdict(merge=adapter)


def only_an_adapter(files: ModelFiles) -> str | None:
    """What to say of files that are an adapter without the model it belongs to; none where they are not."""
    path = files.find(CONFIG)
    if path is None:
        return None
    base = _read_config(path, f"{files.where}/{CONFIG}").get("base_model_name_or_path")
    of = f" of {base}" if isinstance(base, str) and base else ""
    return (
        f"{files.where} holds an adapter{of} and no model: merge it into its model and give that, or name the model "
        f"and say --adapter {files.where}"
    )


def _refusal(place: str, what: str) -> str:
    return (
        f"{place}: the adapter beside the model changes its head ({what}): merge it into the model, or say --adapter "
        "merge to do that here for a plain LoRA, or --adapter ignore to take the head of the model alone"
    )


def _read_config(path: Path, place: str, *, beside: bool = True) -> dict[str, Any]:
    again = f"copy or download it again{f', or --adapter {IGNORE}' if beside else ''}"
    settings = model_json(path, again=again)
    if not isinstance(settings, dict):
        raise BadInput(f"{place} holds no JSON object: {again}")
    return settings


def _adapter(
    files: ModelFiles,
    place: str,
    settings: dict[str, Any],
    parts: HeadParts,
    aims: tuple[str, ...],
    *,
    beside: bool = True,
) -> Adapter:
    try:
        tensors = StoredTensors(files, WEIGHTS)
    except BadInput as error:
        pickled = f" (only {PICKLED}, which is never read)" if (files.folder / PICKLED).is_file() else ""
        raise BadInput(
            f"{error}{pickled}, so what the adapter of {place} changes is unknown: save it as safetensors, or "
            f"{f'--adapter {IGNORE}' if beside else 'leave --adapter out'}"
        ) from None
    path_of = {name: name.removeprefix(_PREFIX) for name in tensors.names}
    changes = tuple(name for name, path in path_of.items() if _on_the_head(path, parts))
    return Adapter(place, settings, tensors, path_of, parts, changes, aims, beside)


def _on_the_head(path: str, parts: HeadParts) -> bool:
    return is_head_like(path) or any(in_module(path, module) for module in parts.all)


def _head_parts(config: ModelConfig, layout: HeadLayout, overrides: HeadOverrides) -> HeadParts:
    """Where the head lies, as far as can be said before a weight is read: every place that is looked at counts."""

    def named(by_hand: str | None, names: tuple[str, ...]) -> set[tuple[str, ...]]:
        given = names if by_hand is None else () if by_hand == NONE else (by_hand,)
        return {module_of(name) for name in given} - {()}

    said = config.says_tied
    tied = layout.tied if said is None else said
    weight = named(overrides.weight_tensor, layout.output)
    embedding = named(None, layout.embedding)
    others = named(overrides.gamma_tensor, layout.gamma) | named(overrides.beta_tensor, layout.beta)
    others |= named(overrides.bias_tensor, layout.bias) | named(None, layout.projection)
    return HeadParts(
        frozenset(weight), frozenset(embedding if tied else embedding & weight), frozenset(others - weight)
    )


def _aims(settings: Mapping[str, Any], parts: HeadParts) -> Iterable[str]:
    """The entries of an adapter's config that mean a module of the head.

    A list names modules by the ends of their paths, a text is a pattern for whole paths. Layers that only some words
    of a list mean (`target_modules: ["q_proj", "lm_head"]`) are not needed to know the rest.
    """
    places = {".".join(module) for module in parts.all} | {"lm_head"}
    whole = {f"{prefix}{place}" for place in places for prefix in ("", "model.", "transformer.", "language_model.")}
    for key in ("target_modules", "modules_to_save", "target_parameters"):
        value = settings.get(key)
        if isinstance(value, str) and value != "all-linear":
            try:
                meant = any(re.fullmatch(value, place) for place in whole)
            except re.error:
                meant = True  # unreadable, so it may mean the head
            if meant:
                yield f"{key} {value}"
        elif isinstance(value, list):
            for word in map(str, value):
                module = word.removesuffix(".weight")
                if any(place == module or place.endswith(f".{module}") for place in whole):
                    yield f"{key} {word}"
    rows = settings.get("trainable_token_indices")
    if isinstance(rows, Mapping):
        yield from (f"trainable_token_indices {word}" for word in map(str, rows) if _names_part(word, parts))
    elif rows and parts.embedding:
        yield "trainable_token_indices of the tied input embedding"


def _names_part(word: str, parts: HeadParts) -> bool:
    wanted = bare_path(word)
    return is_head_like(f"{word}.weight") or any(module[-len(wanted) :] == wanted for module in parts.all)
