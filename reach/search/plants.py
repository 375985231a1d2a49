"""Random inputs of each level, kept so that what they bring up can be stored as a witness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reach.search.ledger import Witness
from reach.search.levels import InHull, freedom
from reach.search.prompts import Prompts

_SCALES = (0.5, 1.0, 2.0, 4.0)
_MEANT = 3
"""Rows in a random mean: means of very many rows are all alike."""


@dataclass(frozen=True)
class Plants:
    """Some random inputs.

    Attributes:
        e: their embeddings.
        legal: whether an input meets its level.
        witness: from a row and its margin, logits, to the witness that says how the input was made.
    """

    e: Float[Tensor, "n k d"]
    legal: Bool[Tensor, " n"]
    witness: Callable[[int, float], Witness]


def draw_plants(prompts: Prompts, level: str, length: int, count: int, generator: torch.Generator) -> Plants:
    """Random inputs of a level; fewer where text does not survive."""
    if level in ("tokens", "text"):
        return _prompts(prompts, level, length, count, generator)
    if level == "hull":
        return _means(prompts, length, count, generator)
    live, rows = prompts.live, prompts.live.rows
    normal = torch.randn((count, length, rows.shape[1]), generator=generator).to(rows.device)
    if level == "free":
        scale = torch.tensor(_SCALES).repeat(count)[:count].to(rows.device)
        e = normal * scale[:, None, None] * freedom("free", rows).scale
    else:
        share = torch.rand((count, length, 1), generator=generator).to(rows.device)
        norms = live.range.low + (live.range.high - live.range.low) * share
        e = normal / normal.norm(dim=-1, keepdim=True) * norms

    def witness(row: int, margin: float) -> Witness:
        return Witness(level, length, margin, points=e[row].float().cpu().numpy().copy(), how="random")

    # Rounding can leave the range of norms at its very ends.
    legal = live.range.holds(e).all(1) if level == "norm" else torch.ones(count, dtype=torch.bool, device=e.device)
    return Plants(e, legal, witness)


def _prompts(prompts: Prompts, level: str, length: int, count: int, generator: torch.Generator) -> Plants:
    rows = prompts.live.rows
    if level == "tokens":
        ids = prompts.random_ids(count, length, generator)
    else:
        text = prompts.trip.tokenizer is not None
        ids = prompts.random_text(count if text else 0, length, generator)
        ids = ids[[prompts.trip.survives(one) for one in ids.tolist()]]

    def witness(row: int, margin: float) -> Witness:
        return Witness(level, length, margin, ids=ids[row].numpy().astype(np.int32), how="random")

    return Plants(rows[ids.to(rows.device)], torch.ones(len(ids), dtype=torch.bool, device=rows.device), witness)


def _means(prompts: Prompts, length: int, count: int, generator: torch.Generator) -> Plants:
    """Means of a few rows with weights drawn evenly."""
    rows = prompts.live.rows
    pick = torch.randint(0, len(rows), (count, length, _MEANT), generator=generator)
    weight = -torch.rand((count, length, _MEANT), generator=generator).clamp_min(1e-9).log()
    weight /= weight.sum(dim=2, keepdim=True)
    e = (rows[pick.to(rows.device)] * weight[..., None].to(rows.device)).sum(dim=2)

    def witness(row: int, margin: float) -> Witness:
        weights = tuple(
            (at.numpy().astype(np.int32), share.numpy().astype(np.float32))
            for at, share in zip(pick[row], weight[row], strict=True)
        )
        return Witness("hull", length, margin, weights=weights, how="random")

    return Plants(e, InHull(rows).legal(e)[:, -1], witness)
