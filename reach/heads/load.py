"""The front door: a head from a model folder, a GGUF file, a bare file, or a Hub id."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from reach.heads.adapter import IGNORE, only_an_adapter, settle_adapter
from reach.heads.adapter_base import made_for
from reach.heads.assemble import assemble
from reach.heads.config import read_config
from reach.heads.files import LocalFiles, ModelFiles
from reach.heads.gguf.places import gguf_in_folder, is_gguf
from reach.heads.head import Head
from reach.heads.overrides import HeadOverrides
from reach.heads.plan import plan_head
from reach.heads.weights import NoWeights, StoredTensors
from reach.options import readable_path
from solvers.errors import BadInput

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FILE_ENDINGS = (".npz", ".npy", ".safetensors", ".json", ".bin", ".pt", ".pth", ".gguf")
NO_OVERRIDES = HeadOverrides()


def load_head(
    model: str,
    *,
    overrides: HeadOverrides = NO_OVERRIDES,
    revision: str | None = None,
    domain: str | None = None,
    fetch: bool = True,
    adapter: str | None = None,
) -> Head:
    """Read the head of a model, and nothing else of it.

    Args:
        model: a model folder, a GGUF file, a bare `.npz` or `.safetensors` file, or a Hub id such as `org/name`.
        overrides: tensor names and norm settings given by hand.
        revision: branch, tag or commit of a Hub model.
        domain: `norm`, `free`, `ball:R` or `box:LO,HI` to judge over; none takes the norm's (`norm`), or `free` where
            a model has no norm. A bare file without a norm must be given one.
        fetch: whether the Hub may be asked. If not, a Hub id finds what is in the Hub cache.
        adapter: what to do with an adapter beside the model that changes its head: `merge` or `ignore` it; none
            refuses. Any other text is the folder of an adapter to be merged.

    Raises:
        BadInput: anything missing, damaged or contradictory, as one line that says what to do.
        MissingExtra: a Hub id where huggingface_hub is not installed, or a GGUF file where gguf is not.
    """
    path = readable_path(model)
    if revision is not None and path.exists():
        raise BadInput(f"--revision {revision} is for Hub models, but {path} is local: leave it out")
    file = path if path.is_file() else gguf_in_folder(path) if path.is_dir() else None
    if file is not None:
        if adapter not in (None, IGNORE):
            raise BadInput(f"--adapter {adapter} is for model folders, but {path} is a file: leave it out")
        if not is_gguf(file):
            from reach.heads.bare import load_bare_head

            return load_bare_head(file, domain, overrides=overrides)
        from reach.heads.gguf.head import load_gguf_head

        head = load_gguf_head(file, overrides)
    else:
        head = _load(model, _files(model, path, revision, fetch), overrides, adapter)
    return head if domain is None else judged_over(head, domain)


def _files(model: str, path: Path, revision: str | None, fetch: bool) -> ModelFiles:
    if path.is_dir():
        return LocalFiles(path)
    if not _HUB_ID.fullmatch(model) or path.suffix in _FILE_ENDINGS:
        raise BadInput(f"{model}: no such folder or file, and not a Hub id (org/name)")
    from reach.heads.hub import CachedFiles, HubFiles

    return HubFiles(model, revision) if fetch else CachedFiles(model, revision)


def _load(model: str, files: ModelFiles, overrides: HeadOverrides, adapter: str | None) -> Head:
    """Decide by the config, then by the names of tensors, and only then read weights."""
    path = files.find("config.json")
    if path is None and (alone := only_an_adapter(files)) is not None:
        raise BadInput(alone)
    config = read_config(path or files.folder / "config.json")
    layout = plan_head(config, overrides, files)
    settled = settle_adapter(files, config, layout, overrides, adapter)
    stored = _stored(files)
    settled = made_for(settled, model, stored)
    head = assemble(model, config, layout, stored, overrides, settled)
    files.fetch_tokenizer()
    return replace(head, folder=files.folder, revision=files.revision)


def _stored(files: ModelFiles) -> StoredTensors:
    try:
        return StoredTensors(files)
    except NoWeights:
        alone = only_an_adapter(files)
        if alone is None:
            raise
        raise BadInput(alone) from None


def judged_over(head: Head, text: str) -> Head:
    """The same head, judged over a domain in words.

    Raises:
        BadInput: it is none, or `norm` where the head has no norm.
    """
    from reach.heads.domain import parse_domain

    domain = parse_domain(text, head.d)
    if domain != "norm":
        return head.with_domain(domain)
    if head.norm is None:
        raise BadInput(f"--domain norm: {head.model_id} has no final norm; use free, ball:R or box:LO,HI")
    return head
