"""How strong is the search? What it was not told about, what independent runs agree on, what is estimated unfound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from reach.search.batching import BatchSize
from reach.search.continuous import optimise
from reach.search.gradient_prompts import guided
from reach.search.ledger import Ledger
from reach.search.levels import CONTINUOUS, InHull, freedom
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.starts import Bank, Starts
from reach.search.verdicts import Aims
from reach.search.winners import winners
from reach.strength.capture_recapture import Richness, chao2, chapman
from reach.strength.rates import Rate, wilson

PLANTS = 2048
"""Random inputs per level and length."""
SAMPLE = 128
RUNS = 3
_SCALES = (0.5, 1.0, 2.0, 4.0)


def planted_recall(
    prompts: Prompts, level: str, length: int, generator: torch.Generator, unspeakable: np.ndarray
) -> dict[str, Any]:
    """Tokens that fresh random inputs of a level bring up, and how many of them the search had found.

    Returns:
        A record; `forbidden` lists tokens proved unspeakable that came up, which must be none.
    """
    tokens: list[np.ndarray] = []
    for at in range(0, PLANTS, 256):
        e, legal = _random_inputs(prompts, level, length, min(256, PLANTS - at), generator)
        if not len(e):
            continue
        found = winners(prompts.live.run(e, gradient=False).logits)
        sure = found.margin[:, -1] > prompts.live.rounding
        tokens.append(found.top[:, -1][sure & legal].cpu().numpy())
    drawn = np.concatenate(tokens) if tokens else np.zeros(0, dtype=np.int64)
    counts = np.bincount(drawn, minlength=prompts.ledger.v)
    asked, known = prompts.ledger.wanted, prompts.ledger.found[level]
    plants, rare = np.flatnonzero((counts > 0) & asked), np.flatnonzero((counts == 1) & asked)
    missed = plants[~known[plants]]
    return {
        "level": level,
        "length": length,
        "inputs": len(drawn),
        "all": _rate(int(known[plants].sum()), len(plants)),
        "rare": _rate(int(known[rare].sum()), len(rare)),
        "missed": missed.tolist(),
        "forbidden": np.flatnonzero((counts > 0) & unspeakable).tolist(),
    }


def _random_inputs(
    prompts: Prompts, level: str, length: int, count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "n k d"], Tensor]:
    live = prompts.live
    rows = live.rows
    yes = torch.ones(count, dtype=torch.bool, device=rows.device)
    if level in ("tokens", "text"):
        draw = prompts.random_ids if level == "tokens" else prompts.random_text
        if level == "text" and prompts.trip.tokenizer is None:
            return rows[:0, None], yes[:0]
        ids = draw(count, length, generator)
        if level == "text":
            ids = ids[[prompts.trip.survives(one) for one in ids.tolist()]]
        return rows[ids.to(rows.device)], yes[: len(ids)]
    shape = (count, length, rows.shape[1])
    normal = torch.randn(shape, generator=generator).to(rows.device)
    if level == "free":
        scale = torch.tensor(_SCALES).repeat(count)[:count].to(rows.device)
        return normal * scale[:, None, None] * freedom("free", rows).scale, yes
    if level == "norm":
        share = torch.rand((count, length, 1), generator=generator).to(rows.device)
        norms = live.range.low + (live.range.high - live.range.low) * share
        return normal / normal.norm(dim=-1, keepdim=True) * norms, yes
    # A few rows with weights drawn evenly: means of very many rows are all alike.
    pick = torch.randint(0, len(rows), (count, length, 3), generator=generator).to(rows.device)
    weight = -torch.rand((count, length, 3, 1), generator=generator).to(rows.device).clamp_min(1e-9).log()
    e = (rows[pick] * weight / weight.sum(dim=2, keepdim=True)).sum(dim=2)
    legal = InHull(rows).legal(e)[:, -1]
    return e, legal


def independent_runs(
    prompts: Prompts,
    level: str,
    length: int,
    settings: SearchSettings,
    aims: Aims | None,
    seconds: float,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any] | None:
    """Search the same sample of tokens several times from nothing, and let the agreement speak.

    The runs share no finds, no starting points and no random numbers. Tokens of the sample that the search or any
    run has reached are known to be reachable: the share of them that one run reaches is its recall.
    """
    pool = np.flatnonzero(prompts.ledger.wanted)
    if not len(pool) or seconds <= 0:
        return None
    rng = np.random.default_rng(settings.seed + 7)
    sample = np.sort(rng.choice(pool, size=min(SAMPLE, len(pool)), replace=False))
    wanted = np.zeros(prompts.ledger.v, dtype=bool)
    wanted[sample] = True
    incidence, spent, inputs = [], [], []
    for run in range(RUNS):
        started = time.perf_counter()
        scratch = _one_run(prompts, wanted, level, length, settings, aims, seconds / RUNS, run, progress)
        incidence.append(scratch.found[level][sample])
        spent.append(time.perf_counter() - started)
        inputs.append(int(sum(scratch.inputs.values())))
    found = np.stack(incidence)
    known = prompts.ledger.found[level][sample] | found.any(axis=0)
    first, second = found[0], found[1]
    return {
        "level": level,
        "length": length,
        "sample": len(sample),
        "runs": RUNS,
        "found": found.sum(axis=1).tolist(),
        "seconds": [round(one, 2) for one in spent],
        "inputs": inputs,
        "known": int(known.sum()),
        "union": int(found.any(axis=0).sum()),
        "recall": _rate(int(found[:, known].sum()), int(known.sum()) * RUNS),
        "chao2": _richness(chao2(found)) if found.any() else None,
        "chapman": _richness(chapman(int(first.sum()), int(second.sum()), int((first & second).sum())))
        if (first | second).any()
        else None,
        "missed_by_search": sample[found.any(axis=0) & ~prompts.ledger.found[level][sample]].tolist(),
    }


def _one_run(
    prompts: Prompts,
    wanted: np.ndarray,
    level: str,
    length: int,
    settings: SearchSettings,
    aims: Aims | None,
    seconds: float,
    run: int,
    progress: Callable[[], None],
) -> Ledger:
    live, end = prompts.live, time.perf_counter() + seconds
    seed = settings.seed + 1000 * (run + 1)
    generator = torch.Generator().manual_seed(seed)
    scratch, bank = Ledger(prompts.ledger.v, wanted), Bank()
    own = Prompts(live, scratch, prompts.trip, bank, prompts.size, settings.min_margin or 0.0)
    own.run(own.random_ids(512, length, generator), "random", keep=True)
    if level not in ("tokens", "text"):
        # What its own random prompts brought up says nothing of the optimiser.
        scratch = own.ledger = Ledger(prompts.ledger.v, wanted)
    starts = Starts(live, scratch, bank, aims, seed, alone=True)
    sample = np.random.default_rng(seed).permutation(np.flatnonzero(wanted))
    over = lambda: time.perf_counter() > end  # noqa: E731
    less = replace(settings, restarts=2)
    if level in CONTINUOUS:
        size = BatchSize(settings.batch, settings.device, live.v)
        optimise(live, scratch, freedom(level, live.rows), length, sample, starts, less, size, over, progress)
    else:
        guided(own, level, length, sample, starts, less, over, generator, progress)
    return scratch


def estimated_unfound(record: dict[str, Any] | None, level_found: int, asked: int) -> dict[str, Any] | None:
    """The whole search's own unfound tokens: share of the sample estimated reachable × tokens asked, less found."""
    if record is None or record["chao2"] is None:
        return None
    scale = asked / record["sample"]
    known = max(record["known"], record["union"])
    chao = record["chao2"]
    return {
        name: max(0.0, min(asked, scale * max(value, known)) - level_found)
        for name, value in (("estimate", chao["estimate"]), ("low", chao["low"]), ("high", chao["high"]))
    }


def _rate(found: int, tried: int) -> dict[str, Any] | None:
    if tried == 0:
        return None
    rate: Rate = wilson(found, tried)
    return {"found": found, "tried": tried, "share": rate.share, "low": rate.low, "high": rate.high}


def _richness(value: Richness) -> dict[str, Any]:
    high = value.high if np.isfinite(value.high) else None
    return {"estimate": value.estimate, "low": value.low, "high": high if high is not None else 1e9}


def sample_of(tokens: Int64[np.ndarray, " n"], size: int, seed: int) -> Int64[np.ndarray, " m"]:
    """Some of the tokens, in order."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(tokens, size=min(size, len(tokens)), replace=False))
