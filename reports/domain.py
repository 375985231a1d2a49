"""The domain of a scan in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reach.runs.domain_words import domain_words
from reach.runs.manifest import Manifest
from reports import plain
from solvers.domains import Ball, spoken

_NORMS = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}
_OFFSET_ROLES = ("bias", "shift", "beta", "offset")


@dataclass(frozen=True)
class DomainView:
    """What the point z may be."""

    kind: str  # the first word of the domain, or other
    words: str  # goes after "over"
    why: str  # a sentence, or empty
    offsets: bool  # the head adds a constant to the logits
    whole: bool  # nothing that the head can be given lies outside, so "never" needs no condition


def domain_view(manifest: Manifest) -> DomainView:
    """Read 'free', 'ball:8', 'ball:sqrt(384)' or 'box:-1,1' from a manifest."""
    domain = domain_words(manifest.record()) or plain.NOT_RECORDED
    kind, _, rest = domain.partition(":")
    norm = norm_name(manifest)
    offsets = any(word in str(role).lower() for role in _tensors(manifest) for word in _OFFSET_ROLES)
    words = spoken(domain)
    if words is None:
        kind, words = "other", f"the domain “{plain.text(domain)}”"
    own = kind == "ball" and norm is not None and _is_norms_own(rest, manifest.d)
    why = f"That is everything that the final {norm} can put out{_before(manifest, norm)}." if own else ""
    return DomainView(kind, words, why or _why(kind, norm, manifest.d), offsets, whole=own or kind == "free")


def _before(manifest: Manifest, norm: str | None) -> str:
    """What the norm does after its output fills the ball; where no tensors are recorded, what such norms do."""
    roles = [role.lower() for role in _tensors(manifest)]
    has = {
        "scale": not roles or any("gamma" in role or "scale" in role for role in roles),
        "shift": any("beta" in role or "shift" in role for role in roles) if roles else norm != _NORMS["rmsnorm"],
    }
    parts = " and ".join(name for name, there in has.items() if there)
    return f", before its {parts}" if parts else ""


def _why(kind: str, norm: str | None, width: int | None) -> str:
    """How a domain other than the norm's own relates to the norm."""
    if norm is None:
        return "No final norm limits the hidden state." if kind == "free" else "It was chosen for this scan."
    squared = plain.finite(width)
    if squared is None or squared <= 0:
        return ""
    radius = f"{math.sqrt(squared):.6g}"
    return f"It was chosen for this scan: the final {norm} itself fills the open ball of radius {radius}."


def _is_norms_own(radius: str, width: int | None) -> bool:
    """Whether R² is the width, exactly: the norm's own ball, and no other that is nearly as large."""
    squared = plain.finite(width)
    return squared is not None and squared > 0 and f"ball:{radius}" == Ball(squared_radius=squared).describe()


def norm_name(manifest: Manifest) -> str | None:
    """The final norm's usual spelling, or None where there is none."""
    norm = None if manifest.head is None else manifest.head.norm
    if not isinstance(norm, str) or norm.lower() in ("", "none"):
        return None
    return _NORMS.get(norm.lower().replace("_", "").replace(" ", "").replace("-", ""), norm)


def _tensors(manifest: Manifest) -> list[str]:
    return [] if manifest.head is None else [role for role, name in manifest.head.tensors.items() if name]
