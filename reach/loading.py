"""From what a person or a record says of a model to its head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reach.demo import DEMO_NAME, demo_model
from reach.heads.adapter import adapter_choice
from reach.heads.loading import Loading
from reach.heads.overrides import HeadOverrides
from reach.options import readable_path
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.heads.head import Head


def what_to_load(
    model: str | None,
    head_file: Path | None = None,
    *,
    domain: str | None = None,
    revision: str | None = None,
    overrides: HeadOverrides | None = None,
    adapter: str | None = None,
) -> tuple[str, Loading]:
    """The model's name, and what finds it again from any working directory.

    Args:
        model: a folder, a bare head file or a Hub id; none, without a head file, is the demo model.
        head_file: a bare head file, in place of a model.
        domain, revision, overrides, adapter: see `Loading`.

    Raises:
        BadInput: both a model and a head file, no such file, or an adapter choice that there is not.
    """
    if model is not None and head_file is not None:
        raise BadInput("give either MODEL or --head FILE, not both")
    name = DEMO_NAME if model is None and head_file is None else str(model if head_file is None else head_file)
    path = readable_path(name)
    if head_file is not None and not path.is_file():
        raise BadInput(f"{head_file}: no such file; --head takes a .npz or .safetensors file")
    if (path / "manifest.json").is_file() and not (path / "config.json").is_file():
        raise BadInput(f"{name} is a run folder, not a model: name its model, and the folder with --out {name}")
    found = str(path.resolve()) if name != DEMO_NAME and path.exists() else name
    return name, Loading(found, domain, revision, overrides or HeadOverrides(), adapter_choice(adapter))


def load_again(loading: Loading, *, fetch: bool = True) -> Head:
    """The head that a record describes; without `fetch`, a Hub id is looked for in the Hub cache alone.

    Raises:
        BadInput: see `reach.heads.load.load_head`; or there is no model in the record.
    """
    from reach.heads.load import load_head

    if loading.model is None:
        raise BadInput("the record does not say which model it is of; name it")
    return load_head(
        str(demo_model()) if loading.model == DEMO_NAME else loading.model,
        overrides=loading.overrides,
        revision=loading.revision,
        domain=loading.domain,
        fetch=fetch,
        adapter=adapter_choice(loading.adapter),
    )


def is_at_hand(model: str) -> bool:
    """Whether a model's name leads to something on this machine: a folder, a file or the demo model."""
    return model == DEMO_NAME or Path(model).is_dir() or Path(model).is_file()
