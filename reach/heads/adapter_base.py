"""Was an adapter made for the model that it is to be merged into?"""

from __future__ import annotations

import re
from dataclasses import replace

from reach.heads.adapter import Adapter, AdapterVerdict
from reach.heads.tensor_names import bare_path, some
from reach.heads.weights import StoredTensors
from solvers.errors import BadInput

_OF_AN_ADAPTER = re.compile(
    r"\.(?:lora_\w+|base_layer|modules_to_save|original_module|token_adapter|ia3_\w+)(?:\.|$)"
)
"""Where the part of a name begins that is the adapter's own."""


def made_for(verdict: AdapterVerdict, model: str, stored: StoredTensors) -> AdapterVerdict:
    """The same verdict, with what there is to doubt about the base of an adapter whose folder the user named.

    An adapter beside a model was put there by somebody who knew; one that is named may be of any model.

    Args:
        verdict: what was decided.
        model: the model as the user named it.
        stored: its tensors, of which names alone are looked at.

    Raises:
        BadInput: the model has none of the modules that the adapter changes.
    """
    adapter = verdict.given
    if adapter is None:
        return verdict
    base = _base(adapter)
    modules = sorted({_module(path) for path in adapter.path_of.values()} - {""})
    places = {path[:length] for path in map(bare_path, stored.names) for length in range(1, len(path))}
    missing = [module for module in modules if bare_path(module) not in places]
    if modules and missing == modules:
        of = f", which says that its base is {base}," if base else ""
        raise BadInput(
            f"{adapter.place}: this adapter{of} was made for another model: {stored.where} stores none of its "
            f"{len(modules)} modules ({some(modules)}): name its own base"
        )
    doubts = []
    if missing:
        doubts.append(
            f"{adapter.place}: {len(missing)} of its {len(modules)} modules are not stored in {stored.where} "
            f"({some(missing)}): it may have been made for another model"
        )
    if verdict.merge is not None and base and _last(base) != _last(model):
        doubts.append(
            f"{adapter.place}: this adapter says that its base is {base}, and is merged into the head of {model}: if "
            "those are other weights, every verdict is about a head that no model has"
        )
    return replace(verdict, notes=(*verdict.notes, *doubts))


def _base(adapter: Adapter) -> str:
    base = adapter.config.get("base_model_name_or_path")
    return base if isinstance(base, str) else ""


def _module(path: str) -> str:
    """The path of the module in the model that one of an adapter's tensors is for."""
    cut = _OF_AN_ADAPTER.search(path)
    return path.rpartition(".")[0] if cut is None else path[: cut.start()]


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()
