"""A model folder with a changed head: the files that hold it are written anew, all others are copied."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from reach.heads.config import model_json, read_config
from reach.heads.files import LocalFiles
from reach.heads.head import Head
from reach.heads.overrides import HeadOverrides
from reach.heads.plan import plan_head
from reach.heads.weights import INDEX, StoredTensors
from reach.runs.atomic import RUN_AGAIN, writing_to
from solvers.errors import BadInput

RECORD = "repair.json"
CONFIG = "config.json"


@dataclass(frozen=True)
class Places:
    """Where the numbers of a head stand in the files of its model.

    Attributes:
        folder: of the model.
        weight: the tensors that hold the output matrix, all of which change.
        tied: whether the input embedding is one of them.
        untie: the matrix becomes a tensor of its own, and `config.json` says so.
    """

    folder: Path
    weight: tuple[str, ...]
    tied: bool
    untie: bool


def places_of(head: Head, overrides: HeadOverrides, *, untie: bool) -> Places:
    """Where a head's numbers stand.

    Args:
        head: the head.
        overrides: what was said by hand of how it is read.
        untie: give a head that shares the input embedding a matrix of its own.

    Raises:
        BadInput: it is no folder of safetensors files, its rows are computed from what is stored, or it is to be
            untied and shares nothing.
    """
    if head.folder is None or head.file is not None:
        raise BadInput(f"{head.model_id}: only a model folder can be repaired, not a single file")
    if head.weight_error is not None or head.source is not None or head.merged is not None:
        raise BadInput(
            f"{head.model_id}: its output rows are computed from several stored tensors (a projection, quantisation "
            "or adapter), so that no row stands in the files: merge or dequantise the model first"
        )
    files = LocalFiles(head.folder)
    stored = StoredTensors(files)
    for role, mine in (("weight", head.weight), ("bias", head.bias)):
        if mine is None:
            continue
        name = head.tensors[role]
        if not stored.file_of(name).endswith(".safetensors"):
            raise BadInput(
                f"{head.folder}: {name} is in {stored.file_of(name)}: convert the model to safetensors first"
            )
        tensor = stored.raw(name)
        if tensor.numel() != mine.numel() or tensor.dtype != mine.dtype:
            raise BadInput(f"{head.folder}: {name} is not stored as the head reads it: dequantise the model first")
    layout = plan_head(read_config(head.folder / CONFIG), overrides, files)
    own = head.tensors["weight"]
    shared = tuple(name for name in (*layout.output, *layout.embedding) if name in stored)
    tied = own in layout.embedding or head.tie.startswith("tied")
    if not tied:
        if untie:
            raise BadInput(f"--untie: {head.model_id} has an output matrix of its own already ({own})")
        return Places(head.folder, (own,), tied=False, untie=False)
    if not untie:
        return Places(head.folder, tuple(dict.fromkeys((own, *shared))), tied=True, untie=False)
    if not layout.output:
        raise BadInput(f"--untie: nothing says what {head.architecture} calls an output matrix of its own")
    return Places(head.folder, layout.output[:1], tied=True, untie=True)


def write_model(head: Head, places: Places, out: Path, record: Mapping[str, Any]) -> None:
    """Write the model with this head to a new folder, which is there as a whole or not at all.

    Args:
        head: the head as it is to be.
        places: where its numbers go. The folder of the model as it was is not touched.
        out: the new folder.
        record: what was done, kept beside it.

    Raises:
        BadInput: the folder is there, or cannot be written.
    """
    check_new(out)
    new: dict[str, Tensor] = dict.fromkeys(places.weight, head.weight)
    if head.bias is not None:
        new[head.tensors["bias"]] = head.bias
    stored = StoredTensors(LocalFiles(places.folder))
    home = {name: stored.file_of(name if name in stored else head.tensors["weight"]) for name in new}
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    with writing_to(out, again=RUN_AGAIN):
        try:
            partial.mkdir(parents=True)
            for path in sorted(places.folder.iterdir()):
                if path.is_dir():
                    shutil.copytree(path, partial / path.name)
                elif path.name not in (*home.values(), RECORD):
                    shutil.copyfile(path, partial / path.name)
            for file in sorted(set(home.values())):
                there = {name: tensor for name, tensor in new.items() if home[name] == file}
                _rewrite(places.folder / file, partial / file, there)
            if places.untie:
                _untie(partial, home)
            (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def check_new(out: Path) -> None:
    """See that there is nothing at a place yet.

    Raises:
        BadInput: there is.
    """
    if out.exists():
        raise BadInput(f"{out} is there already, and nothing is written over a model: name a new folder with --out")


def _rewrite(source: Path, target: Path, new: Mapping[str, Tensor]) -> None:
    """A safetensors file with some tensors exchanged or added."""
    with safe_open(source, framework="pt") as content:
        metadata = content.metadata()
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    for name, tensor in new.items():
        shape = tensors[name].shape if name in tensors else tensor.shape
        tensors[name] = tensor.detach().reshape(shape).clone()  # no two tensors may share memory
    save_file(tensors, target, metadata=metadata)


def _untie(folder: Path, home: Mapping[str, str]) -> None:
    config = model_json(folder / CONFIG)
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and (part is config or "tie_word_embeddings" in part):
            part["tie_word_embeddings"] = False
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    if (folder / INDEX).is_file():
        index = model_json(folder / INDEX, most=2**27)
        index["weight_map"].update(home)
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
