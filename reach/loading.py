"""What finds a head again, and the head that it leads to: the `loading` entry of every record of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from reach.demo import DEMO_NAME, demo_model
from reach.heads.adapter import adapter_choice
from reach.heads.overrides import HeadOverrides
from reach.runs.reading import as_typed
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.heads.head import Head
    from reach.runs.folder import RunFolder


class Loading(msgspec.Struct, frozen=True):
    """Everything that was said of where a head is and how it is to be read.

    Attributes:
        model: a model folder or a bare head file by its absolute path, a Hub id, or the demo model's name; none where
            a record does not say.
        domain: see `reach.heads.bare.parse_domain`; none takes the model's own.
        revision: branch, tag or commit of a Hub model.
        overrides: tensor names and norm settings given by hand.
        adapter: what to do with an adapter beside the model: `merge` or `ignore` it; none refuses one on the head.
    """

    model: str | None = None
    domain: str | None = None
    revision: str | None = None
    overrides: HeadOverrides = HeadOverrides()
    adapter: str | None = None

    def record(self) -> dict[str, Any]:
        """The same in plain types, as records keep it."""
        return {**msgspec.structs.asdict(self), "overrides": self.overrides.given()}

    def but(self, **changes: Any) -> Loading:
        """The same with other entries."""
        return msgspec.structs.replace(self, **changes)

    def asked_anew(self, said: Loading) -> Loading:
        """The same with what is said now in place of what was said before; the model stays."""
        given = {name: getattr(said, name) for name in ("domain", "revision", "adapter")}
        return self.but(
            overrides=HeadOverrides(**{**self.overrides.given(), **said.overrides.given()}),
            **{name: value for name, value in given.items() if value is not None},
        )


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
    path = Path(name).expanduser()
    if head_file is not None and not path.is_file():
        raise BadInput(f"{head_file}: no such file; --head takes a .npz or .safetensors file")
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


def loading_of(run: RunFolder) -> Loading:
    """The entry of a run's manifest, which others may have written.

    Raises:
        BadInput: the entry or something in it is of another kind, or an override is not known.
    """
    return read_loading(run.manifest.get("loading"), run.path / "manifest.json")


def read_loading(content: Any, file: Path) -> Loading:
    """A `loading` entry in plain types, as `file` holds it.

    Raises:
        BadInput: it or something in it is of another kind, or an override is not known.
    """
    content = {} if content is None else content
    overrides = content.get("overrides") if isinstance(content, dict) else None
    for name in overrides if isinstance(overrides, dict) else ():
        if name not in HeadOverrides.__dataclass_fields__:
            raise BadInput(f"{file}: loading.overrides.{name} is not known; scan again")
    given = (
        {name: value for name, value in content.items() if value is not None}
        if isinstance(content, dict)
        else content
    )
    return as_typed({"loading": given}, _Holder, file, again="scan again").loading


class _Holder(msgspec.Struct, frozen=True):
    """So that complaints name the entry."""

    loading: Loading
