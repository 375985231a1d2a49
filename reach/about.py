"""Which head a run is about: the model's own, or another one that its manifest describes by hand.

A manifest may hold overrides (`--beta-tensor none`), with which every verdict is proved about a head that the model
does not use. So the model's own head is read as well, from its own layout, and compared.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from reach.heads.head import Head
from reach.heads.loading import Loading
from reach.heads.overrides import HeadOverrides, UnknownArchitecture
from solvers.errors import BadInput

LoadHead = Callable[[Loading], Head]
_BARE_FILE = "a bare head file holds no model, so there is no head of its own to compare with"


@dataclass(frozen=True)
class About:
    """What a run's verdicts are about, and how that relates to the model.

    Attributes:
        model: the model that was read.
        head: its head, as the run describes it.
        overrides: what was said about it by hand, in the manifest or on the command line, an adapter too.
        own: the model's own head, from its own layout; none where there is none to compare with.
        own_head: whether the two are the same; none where there is no own head.
        meant: whether this head is the one that was asked about: the model's own, the one that the command line
            describes, or the only description there is.
        reason: why there is no own head, or none.
    """

    model: str
    head: Head
    overrides: dict[str, Any]
    own: Head | None
    own_head: bool | None
    meant: bool
    reason: str | None = None

    @property
    def fault(self) -> str | None:
        """One line if the run is about another head than the one that was asked about."""
        if self.meant:
            return None
        about = f"A HEAD GIVEN BY HAND: {self.reason}"
        if self.own is not None:
            about = f"ANOTHER HEAD than the model's own: {self._differences()}"
        return (
            f"ABOUT {about}. Nothing is proved about the model itself; if this head is meant, say so with "
            f"{_options(self.overrides)}"
        )

    def lines(self) -> list[str]:
        """What was proved, for a person: model, tensors, norm, domain, overrides."""
        head = self.head
        revision = "" if head.revision is None else f", revision {head.revision}"
        return [
            f"{'model':<12}{self.model} ({head.architecture}{revision})",
            f"{'head':<12}{_tensors(head)}; {_norm(head)}",
            f"{'domain':<12}{self._domain()}",
            f"{'overrides':<12}{self._by_hand()}",
        ]

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "model": self.model,
            "revision": self.head.revision,
            "architecture": self.head.architecture,
            **_facts(self.head),
            "overrides": self.overrides,
            "own_head": self.own_head,
            "own": None if self.own is None else _facts(self.own),
            "meant": self.meant,
            "reason": self.reason,
            "notes": list(self.head.notes),
        }

    def _domain(self) -> str:
        found = self.head.domain.describe()
        if self.own is None:
            return found
        own = self.own.domain.describe()
        return f"{found}, the model's own" if found == own else f"{found}; the model's own is {own}"

    def _by_hand(self) -> str:
        found = _options(self.overrides) if self.overrides else "none"
        if self.own_head is None:
            return f"{found} ({self.reason})"
        if not self.overrides:
            return found
        if self.own_head:
            return f"{found}, which change nothing: this is the model's own head"
        return f"{found}; the model's own head is another: {self._differences()}"

    def _differences(self) -> str:
        """What is different, and what the model's own is."""
        here, own = self.head, self.own
        assert own is not None
        parts = [
            f"{role} {here.tensors.get(role, 'none')} instead of {own.tensors.get(role, 'none')}"
            for role in dict.fromkeys((*own.tensors, *here.tensors))
            if here.tensors.get(role) != own.tensors.get(role)
        ]
        parts += [f"{_norm(here)} instead of {_norm(own)}"] if _norm(here) != _norm(own) else []
        return ", ".join(parts) or "its numbers differ"


def about_head(head: Head, loading: Loading, said: Loading, load: LoadHead) -> About:
    """Hold a run's head against the model's own.

    Args:
        head: what `loading` leads to.
        loading: a run's `loading` entry, with what the command line says in its place.
        said: the command line's own `overrides` and `adapter`.
        load: loads the head of such an entry.
    """
    model, overrides = str(loading.model), _given(loading)
    if not overrides:
        if head.folder is None and head.file is None:
            return About(model, head, overrides, None, None, True, _BARE_FILE)
        return About(model, head, overrides, replace(head, own_domain=None), True, True)
    plain = loading.but(overrides=HeadOverrides(), adapter=None)
    meant = bool(_given(said)) and _same(
        head, _loaded(load, plain.but(overrides=said.overrides, adapter=said.adapter))
    )
    # "norm" means the norm of the head at hand: the model's own may be another, or none.
    domain = None if loading.domain == "norm" else loading.domain
    try:
        own = load(plain.but(domain=domain))
    except UnknownArchitecture as error:
        return About(model, head, overrides, None, None, True, f"the model's own head is not known: {error}")
    except BadInput as error:
        return About(model, head, overrides, None, None, meant, f"the model's own head cannot be read: {error}")
    own_head = _same(head, own)
    return About(model, head, overrides, replace(own, own_domain=None), own_head, own_head or meant)


def _given(entry: Loading) -> dict[str, Any]:
    """What a `loading` entry says of the head: the names of options, without their dashes, and their words."""
    return {**entry.overrides.given(), **({} if entry.adapter is None else {"adapter": entry.adapter})}


def _loaded(load: LoadHead, loading: Loading) -> Head | None:
    try:
        return load(loading)
    except BadInput:
        return None


def _same(head: Head, other: Head | None) -> bool:
    """Whether two heads pose the same argmax problem: equal numbers over the same domain."""
    if other is None or head.domain.describe() != other.domain.describe():
        return False
    return head.problem().fingerprint == other.problem().fingerprint


def _facts(head: Head) -> dict[str, Any]:
    return {"tensors": dict(head.tensors), "norm": head.norm, "eps": head.eps, "domain": head.domain.describe()}


def _tensors(head: Head) -> str:
    return ", ".join(f"{role} {name}" for role, name in head.tensors.items())


def _norm(head: Head) -> str:
    return "no norm" if head.norm is None else f"{head.norm}, eps {head.eps:g}"


def _options(overrides: dict[str, Any]) -> str:
    """Overrides in the words of the command line."""
    return shlex.join(
        word for name, value in overrides.items() for word in (f"--{name.replace('_', '-')}", str(value))
    )
