"""What finds a head again: the `loading` entry of every record of a model."""

from __future__ import annotations

from typing import Any

import msgspec

from reach.heads.overrides import HeadOverrides


class Loading(msgspec.Struct, frozen=True):
    """Everything that was said of where a head is and how it is to be read.

    Attributes:
        model: a model folder or a bare head file by its absolute path, a Hub id, or the demo model's name; none where
            a record does not say.
        domain: see `reach.heads.bare.parse_domain`; none takes the model's own.
        revision: branch, tag or commit of a Hub model.
        overrides: tensor names and norm settings given by hand.
        adapter: what to do with an adapter beside the model: `merge` or `ignore` it, none refuses one on the head; or
            the absolute path of the folder of an adapter to be merged.
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
