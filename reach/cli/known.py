"""The command `heads`: which heads are known, and how."""

from __future__ import annotations

from typing import Any

from reach.cli.heads import open_head
from reach.cli.say import note, say, say_json
from reach.head_options import HeadOptions
from reach.heads.head import Head
from reach.options import OutputOptions


def heads(head: HeadOptions, output: OutputOptions) -> None:
    """Say where a model keeps its head and how that is known; without a model, which architectures have an entry."""
    if not head.named:
        _entries(output)
        return
    opened = open_head(head)
    found = _facts(opened.name, opened.head, opened.checked)
    for warning in opened.warnings:
        note(warning)
    if output.as_json:
        say_json(found)
        return
    for name, value in found.items():
        shown = ", ".join(f"{role} {tensor}" for role, tensor in value.items()) if isinstance(value, dict) else value
        say(f"{name.replace('_', ' '):<14}{'none' if shown is None else shown}")


def _facts(name: str, head: Head, checked: dict[str, Any] | None) -> dict[str, Any]:
    norm = "none" if head.norm is None else f"{head.norm}, eps {head.eps:g}"
    return {
        "model": name,
        "architecture": head.architecture,
        "known_by": head.found_by,
        "tensors": dict(head.tensors),
        "rows": f"{head.v} × {head.d}, {head.dtype}",
        "tie": head.tie,
        "norm": norm,
        "domain": head.domain.describe(),
        "logits": _logits(head),
        "checked": "not against the live model; --self-check does" if checked is None else checked["sentence"],
    }


def _logits(head: Head) -> str:
    words = [] if head.logit_scale == 1 else [f"times {head.logit_scale:g}"]
    words += [] if head.softcap is None else [f"capped at {head.softcap:g}"]
    return ", ".join(words) or "as they are"


def _entries(output: OutputOptions) -> None:
    from reach.heads.architectures import entries

    rows = entries()
    if output.as_json:
        say_json(rows)
        return
    say(f"{'model type':<14}{'norm':<12}{'eps':<22}{'tied':<7}output matrix, factors of the norm")
    for row in rows:
        tied = "yes" if row["tied"] else "no"
        say(f"{row['model_type']:<14}{row['norm']:<12}{row['eps']:<22}{tied:<7}{row['output']}, {row['gamma']}")
    say("")
    say("Any other class with a head is learnt from a tiny random model of it, if transformers has the class:")
    say("'reach heads MODEL' says what was found.")
