"""From a run's `loading` entry to the head that it describes."""

from __future__ import annotations

from typing import Any

from reach.demo import DEMO_NAME, demo_model
from reach.heads.adapter import adapter_choice
from reach.heads.head import Head
from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides


def load(loading: dict[str, Any], *, fetch: bool = True) -> Head:
    """Load the head that a manifest's `loading` entry describes; a Hub id, without `fetch`, from the Hub cache."""
    model = loading["model"]
    folder = str(demo_model()) if model == DEMO_NAME else model
    return load_head(
        folder,
        overrides=HeadOverrides(**(loading.get("overrides") or {})),
        revision=loading.get("revision"),
        domain=loading.get("domain"),
        fetch=fetch,
        adapter=adapter_choice(loading.get("adapter")),
    )
