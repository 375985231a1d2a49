"""What came of a repair: for a person, for a program, and beside the new model."""

from __future__ import annotations

from typing import Any

import numpy as np

from reach.repair.run import Asked, Repaired
from reach.repair.text import TextEffect
from reach.verdicts import Verdicts

_SHOWN = 20


def unproved(asked: Asked, done: Repaired, verdicts: Verdicts) -> list[int]:
    """The tokens that are not proved to be what they were to become, by the scan of the model as it was written."""
    spoken, silent = done.tokens[done.spoken], done.tokens[~done.spoken]
    fine = np.zeros(len(verdicts), dtype=bool)
    fine[verdicts.ids("speakable")] = True
    with np.errstate(invalid="ignore"):
        fine &= verdicts.margin_lower >= asked.margin
    quiet = np.zeros(len(verdicts), dtype=bool)
    quiet[verdicts.ids("unspeakable")] = True
    if asked.depth > 0:
        with np.errstate(invalid="ignore"):
            quiet &= verdicts.margin_upper <= -asked.depth
    return sorted([*spoken[~fine[spoken]].tolist(), *silent[~quiet[silent]].tolist()])


def repair_record(
    asked: Asked, done: Repaired, tied: bool, untied: bool, effect: TextEffect | None = None
) -> dict[str, Any]:
    """What `--json` prints, and what lies beside the new model (without the effect on text)."""
    columns = (done.tokens, done.spoken, done.size, done.least, done.row_norm)
    return {
        "margin": asked.margin,
        "depth": asked.depth,
        "change": asked.parts.value,
        "input_embedding_changed": tied and not untied,
        "untied": untied,
        "norm": done.norm,
        "added": done.added.tolist(),
        "tokens": [
            {
                "token_id": int(token),
                "to": "speakable" if spoken else "unspeakable",
                "change": float(size),
                "at_least": float(least),
                "row_norm": float(norm),
            }
            for token, spoken, size, least, norm in zip(*columns, strict=True)
        ],
        **({} if effect is None else {"text": effect.record()}),
    }


def repair_lines(
    asked: Asked, done: Repaired, verdicts: Verdicts, tied: bool, untied: bool, effect: TextEffect | None
) -> list[str]:
    """The same for a person."""
    spoken, silent = int(done.spoken.sum()), int((~done.spoken).sum())
    lines = []
    if spoken:
        more = f", {len(done.added)} of them since the change of the others would have silenced them"
        lines.append(
            f"{_tokens(spoken)} made speakable with a margin of at least {asked.margin:g} logits"
            f"{more if len(done.added) else ''}"
        )
    if silent:
        depth = f", at least {asked.depth:g} logits behind" if asked.depth > 0 else ""
        lines.append(f"{_tokens(silent)} proved never to win{depth}")
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(done.row_norm > 0, done.size / done.row_norm, np.inf)
    largest = int(share.argmax())
    lines.append(
        f"the change: Frobenius norm {done.norm:.4g} in all (token by token, others as they were, it takes at least "
        f"{float(np.linalg.norm(done.least)):.4g}); the largest, of {verdicts.label(int(done.tokens[largest]))}, is "
        f"{done.size[largest]:.3g}" + (f", {share[largest]:.1%} of its row" if np.isfinite(share[largest]) else "")
    )
    if untied:
        lines.append("the output matrix is a tensor of its own now; the input embedding is as it was")
    elif tied:
        lines.append(
            "the head is tied, so the input embedding of these tokens has changed too; --untie leaves it alone"
        )
    if effect is not None:
        lines.append(
            f"on the text ({effect.tokens:,} predictions): perplexity {effect.before:.5g} before, {effect.after:.5g} "
            f"after; the same first choice at {effect.same:.3%} of them"
        )
    shown = [verdicts.label(token) for token in done.added[:_SHOWN].tolist()]
    if shown:
        rest = len(done.added) - len(shown)
        lines.append(f"repaired along: {', '.join(shown)}" + (f" and {rest} more" if rest else ""))
    return lines


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"
