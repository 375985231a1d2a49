"""How strong is the search? Planted targets, independent runs from nothing, and every method beside every other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from msgspec.structs import replace as replaced
from torch import Tensor

from reach.search.budget import Deadline
from reach.search.ledger import Ledger, Witness
from reach.search.levels import CONTINUOUS, InHull, freedom
from reach.search.live import winners
from reach.search.options import LEVELS, OPTIMISERS, SearchSettings
from reach.search.phases import fresh_search, random_search
from reach.search.prompts import Prompts
from reach.search.record import Contest, Estimate, Planted, Recall, Runs, Strength
from reach.search.starts import Aims
from reach.search.unfound import unfound
from reach.strength.capture_recapture import chao2, chapman

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


# --- planted targets and independent runs ---------------------------------------------------------------------------

PLANTS = 2048
"""Random inputs per level and length."""
SAMPLE = 128
RUNS = 3


Finds = list[tuple[int, Witness]]


def planted_recall(
    prompts: Prompts,
    level: str,
    length: int,
    generator: torch.Generator,
    time_is_up: Callable[[], bool] = lambda: False,
) -> tuple[Planted, Finds]:
    """Tokens that fresh random inputs of a level bring up, and how many of them the search had found.

    Args:
        prompts: the model and what the search has found.
        level, length: of the inputs.
        generator: of everything random.
        time_is_up: asked before each batch.

    Returns:
        A record, and an input for every token that the search had not found, whether it looked for it or not.
    """
    ledger = prompts.ledger
    counts, drawn = np.zeros(ledger.v, dtype=np.int64), 0
    finds: dict[int, Witness] = {}
    at, clock = 0, ledger.clock
    while at < PLANTS and not time_is_up():
        began, count = clock(), min(256, PLANTS - at, prompts.size.at(length))
        plants = draw_plants(prompts, level, length, count, generator)
        at += count
        if not len(plants.e):
            continue
        found = winners(prompts.live.run(plants.e, gradient=False, last=True).logits)
        margin = found.margin[:, -1]
        sure = torch.nonzero((margin > prompts.live.rounding) & plants.legal)[:, 0].tolist()
        for row in sure:
            token = int(found.top[row, -1])
            counts[token] += 1
            if not ledger.found[level][token] and token not in finds:
                finds[token] = plants.witness(row, float(margin[row]))
        drawn += len(sure)
        prompts.size.note(count, length, clock() - began)
    asked, known = ledger.wanted, ledger.found[level]
    said, rare = np.flatnonzero((counts > 0) & asked), np.flatnonzero((counts == 1) & asked)
    every, few = (Recall.of(int(known[some].sum()), len(some)) for some in (said, rare))
    record = Planted(level, length, drawn, every, few, tuple(said[~known[said]].tolist()))
    return record, list(finds.items())


def independent_runs(
    prompts: Prompts,
    level: str,
    length: int,
    settings: SearchSettings,
    aims: Aims | None,
    deadline: Deadline,
) -> tuple[Runs, Finds] | None:
    """Search the same sample of tokens several times from nothing, and let the agreement speak.

    The runs share no finds, no starting points and no random numbers, and each gets the same time. Tokens of the
    sample that the search or any run has reached are known to be reachable: the share of them that one run reaches is
    its recall.
    """
    sample, wanted = _sample(prompts, settings.seed + 7)
    seconds = deadline.left / RUNS
    if not len(sample) or seconds <= 0:
        return None
    incidence, attempted, spent, inputs = [], [], [], []
    finds: Finds = []
    less = replace(settings, restarts=2)
    for run in range(RUNS):
        seed = settings.seed + 1000 * (run + 1)
        scratch = fresh_search(prompts, wanted, level, length, less, aims, deadline.within(seconds), seed)
        incidence.append(scratch.found[level][sample])
        attempted.append(int((scratch.found[level] | (scratch.tries[level] > 0))[sample].sum()))
        spent.append(scratch.seconds)
        inputs.append(int(sum(scratch.inputs.values())))
        finds += list(scratch.witnesses[level].items())
    found = np.stack(incidence)
    union, searched = found.any(axis=0), prompts.ledger.found[level][sample]
    known, first, second = searched | union, found[0], found[1]
    both = (int(first.sum()), int(second.sum()), int((first & second).sum()))
    record = Runs(
        level=level, length=length, sample=len(sample), runs=RUNS, found=tuple(found.sum(axis=1).tolist()),
        attempted=tuple(attempted), seconds=tuple(round(one, 2) for one in spent), inputs=tuple(inputs),
        known=int(known.sum()), union=int(union.sum()),
        recall=Recall.of(int(found[:, known].sum()), int(known.sum()) * RUNS),
        chao2=Estimate.of(chao2(found)) if union.any() else None,
        chapman=Estimate.of(chapman(*both)) if (first | second).any() else None,
        missed_by_search=tuple(sample[union & ~searched].tolist()),
    )  # fmt: skip
    return record, finds


def _sample(prompts: Prompts, seed: int) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " v"]]:
    """Some of the tokens looked for, as ids and as a mask."""
    pool = np.flatnonzero(prompts.ledger.wanted)
    sample = np.sort(np.random.default_rng(seed).choice(pool, size=min(SAMPLE, len(pool)), replace=False))
    wanted = np.zeros(prompts.ledger.v, dtype=bool)
    wanted[sample] = True
    return sample, wanted


# --- every method against every other -------------------------------------------------------------------------------

_POINTS = 32
LEAST_SECONDS = 0.1
"""A method that has less time shows how it starts and not how it searches."""
GUIDED = "gradient-guided prompts"
RANDOM = "random prompts"


def contests(settings: SearchSettings, levels: list[str]) -> list[tuple[str, int, str]]:
    """Level, length and method of every curve."""
    rows = []
    for level in levels:
        for length in settings.lengths:
            if level in CONTINUOUS:
                rows += [(level, length, name) for name in OPTIMISERS if name != "auto"]
            elif length > 1:  # single tokens are tried out, nothing is left to search
                rows += [(level, length, GUIDED), (level, length, RANDOM)]
    return rows


def _rounds(settings: SearchSettings, levels: list[str]) -> list[list[tuple[str, int, str]]]:
    """The contests of each level and length, the length of the independent runs first, then the others."""
    groups: dict[tuple[str, int], list[tuple[str, int, str]]] = {}
    for one in contests(settings, levels):
        groups.setdefault(one[:2], []).append(one)
    order = list(settings.lengths)
    first = order[min(1, len(order) - 1)]
    return sorted(groups.values(), key=lambda group: (group[0][1] != first, order.index(group[0][1])))


def optimiser_curves(
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    levels: list[str],
    deadline: Deadline,
    say: Callable[[str], None],
) -> tuple[list[Contest], Finds]:
    """Curves of tokens found, for one sample of the tokens looked for.

    Every method gets the same time, the same tokens and the same random numbers, and uses nothing found before. Where
    there is not time enough for all levels and lengths, some of these are left out.

    Args:
        prompts: the model, the tokenizer and what the search has found.
        settings: the search's; the optimiser is varied, its step size too unless one was asked for.
        aims: where the head's witnesses lie.
        levels: those searched.
        deadline: for all curves together.
        say: told what goes on.

    Returns:
        One record per curve with points of inputs tried, seconds and tokens found, in the order of `contests`; and
        the finds.
    """
    sample, wanted = _sample(prompts, settings.seed + 11)
    rounds = _rounds(settings, levels)
    if not len(sample) or not rounds:
        return [], []
    records: list[Contest] = []
    finds: Finds = []

    ahead = sum(map(len, rounds))
    for group in rounds:
        left = deadline.left
        if left < LEAST_SECONDS * len(group):
            break
        share = max(LEAST_SECONDS, left / ahead)
        for one in group:
            say("{2}, {0}, length {1}".format(*one))
            record, found = _compete(prompts, settings, aims, wanted, one, deadline.within(share))
            records.append(record)
            finds += found
        ahead -= len(group)
    place = {one: at for at, one in enumerate(contests(settings, levels))}
    records.sort(key=lambda one: place[one.level, one.length, one.method])
    return records, finds


def _compete(
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    wanted: Bool[np.ndarray, " v"],
    contest: tuple[str, int, str],
    time_is_up: Deadline,
) -> tuple[Contest, Finds]:
    """One method at one level and length: its curve and its finds."""
    level, length, method = contest
    points: list[tuple[int, float, int]] = []

    def watch(ledger: Ledger) -> None:
        found = int((ledger.found[level] & wanted).sum())
        points.append((int(sum(ledger.inputs.values())), round(ledger.seconds, 4), found))

    where, seed = (prompts, wanted, level, length), settings.seed + 77
    if method == RANDOM:
        scratch = random_search(*where, settings, time_is_up, seed, watch)
    else:
        mine = settings if method == GUIDED else replace(settings, optimiser=method)
        scratch = fresh_search(*where, mine, aims, time_is_up, seed, watch, chance=False)
    watch(scratch)
    curve = Contest(level, length, method, int(wanted.sum()), _thin(points))
    return curve, list(scratch.witnesses[level].items())


def _thin(points: list[tuple[int, float, int]]) -> tuple[tuple[int, float, int], ...]:
    """The last point, and the first of each number found, no more than fit a figure."""
    steps = [one for at, one in enumerate(points) if at == 0 or one[2] != points[at - 1][2]]
    kept = [steps[at] for at in np.unique(np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).astype(int))]
    return tuple(kept if kept[-1] == points[-1] else [*kept, points[-1]])


# --- all of it ------------------------------------------------------------------------------------------------------

PLANTED_SHARE, RUNS_SHARE = 0.2, 0.4
"""Shares of planted targets and of independent runs in the time for measuring; the curves have the rest."""


def measure_strength(
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    levels: list[str],
    say: Callable[[str], None],
    deadline: Deadline | None = None,
) -> tuple[Strength, Finds]:
    """Measure, in the share of the budget that is set aside for it.

    Args:
        prompts: the model and what the search has found.
        settings: the search's.
        aims: where the head's witnesses lie.
        levels: those searched.
        say: told what goes on.
        deadline: for all of it; none takes the share of the budget from now on.

    Returns:
        The record without what only the finished search can say, and inputs found on the way for tokens that the
        search lacks: they may count once all is measured, not before.
    """
    if deadline is None:
        deadline = Deadline.after(settings.strength * settings.budget, prompts.ledger.clock)
    ledger = prompts.ledger
    before = {level: int((ledger.found[level] & ledger.wanted).sum()) for level in levels}
    planted, finds = _planted(prompts, settings, levels, say, deadline.part(PLANTED_SHARE))
    runs = []
    length = settings.lengths[min(1, len(settings.lengths) - 1)]
    for_runs = deadline.part(RUNS_SHARE / (1 - PLANTED_SHARE))
    least = for_runs.left / max(1, len(levels)) / 2
    for number, level in enumerate(levels):
        say(f"independent runs, {level}")
        # Where steps take long, the last levels take from the curves rather than have no runs.
        mine = max(least, for_runs.left / (len(levels) - number))
        found = independent_runs(prompts, level, length, settings, aims, deadline.within(mine))
        if found is not None:
            runs.append(found[0])
            finds += found[1]
    curves, new = optimiser_curves(prompts, settings, aims, levels, deadline, say)
    measured = Strength(planted=tuple(planted), runs=tuple(runs), curves=tuple(curves), found_before=before)
    return measured, finds + new


def _planted(
    prompts: Prompts, settings: SearchSettings, levels: list[str], say: Callable[[str], None], deadline: Deadline
) -> tuple[list[Planted], Finds]:
    """Recall of planted targets at every level and length, the time for them shared evenly."""
    generator = torch.Generator().manual_seed(settings.seed + 424_242)
    records = []
    finds: Finds = []
    ahead = len(levels) * len(settings.lengths)
    for level in levels:
        say(f"planted inputs, {level}")
        for length in settings.lengths:
            one, new = planted_recall(prompts, level, length, generator, deadline.part(1 / ahead))
            records.append(one)
            finds += new
            ahead -= 1
    return records, finds


def credit(prompts: Prompts, finds: Finds) -> int:
    """Count what the measuring found; says how many tokens times levels were new. They are yet to be replayed."""
    ledger = prompts.ledger
    before = ledger.hits
    for token, witness in finds:
        ledger.add(token, witness)
    return ledger.hits - before


def with_unfound(measured: Strength, prompts: Prompts, levels: list[str], credited: int) -> Strength:
    """The record with what is still unfound, at least, when everything has been counted."""
    wanted, found = prompts.ledger.wanted, prompts.ledger.found
    now = {level: int((found[level] & wanted).sum()) for level in LEVELS if level in levels}
    # A find of the runs that did not replay, or for which there was no time, is none.
    runs = tuple(
        replaced(one, confirmed=int(found[one.level][list(one.missed_by_search)].sum())) for one in measured.runs
    )
    measured = replaced(measured, runs=runs, credited=credited)
    return replaced(measured, unfound=unfound(measured, now, int(np.count_nonzero(wanted))))
