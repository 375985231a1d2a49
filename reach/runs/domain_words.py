"""Which domain a run is about, in words that are equal for equal domains only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solvers.domains import Ball, Domain
from solvers.errors import BadInput

SQUARED_RADIUS = "squared_radius"
"""The manifest's entry beside `domain`: R² of a ball, which √d is not exactly; null for other domains."""


def domain_entries(domain: Domain) -> dict[str, Any]:
    """What a manifest says of a domain."""
    return {
        "domain": domain.describe(),
        SQUARED_RADIUS: domain.ball_radius_squared,
    }


def domain_words(manifest: Mapping[str, Any]) -> str | None:
    """The domain of a run as `Domain.describe` puts it; none where the manifest does not say.

    Manifests without R² gave a ball by its radius rounded to float64, where √d and a ball chosen by hand may print
    alike. There the domain that was asked for tells them apart.
    """
    words = manifest.get("domain")
    if not isinstance(words, str):
        return None
    kind, _, radius = words.partition(":")
    if kind != "ball" or SQUARED_RADIUS in manifest:
        return words
    loading, head = manifest.get("loading"), manifest.get("head")
    asked = loading.get("domain") if isinstance(loading, dict) else None
    normed = isinstance(head, dict) and head.get("norm") is not None
    width = manifest.get("d")
    try:
        own = Ball(squared_radius=float(width)) if normed and isinstance(width, int) else None
        if own is not None and asked in (None, "norm") and float(radius) == own.radius:
            return own.describe()
        return Ball(squared_radius=float(radius) ** 2).describe()
    except (BadInput, ValueError, OverflowError):
        return words
