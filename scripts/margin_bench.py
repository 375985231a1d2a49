"""Brackets of margins by the active-set backend, in products of the same run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reach.scanning.judge import is_wide
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import UNSPEAKABLE
from solvers import registry
from solvers.attempt import Attempts
from solvers.backend import Budget
from solvers.backends.active_set import ActiveSet
from solvers.checks.hull import hull_upper_bounds
from solvers.checks.witness import check_witnesses
from solvers.domains import Free
from solvers.problem import ArgmaxProblem

MIB = 2**20
_CLUSTERS, _CLUSTER_ROWS, _CLUSTER_WIDTH = 5, 40, 0.02


_SOLVER_ROOM = 1e-7
"""Share of a margin by which an interior point solver's two values may both be off, beside their difference."""


def trained_like_head(v: int, d: int) -> ArgmaxProblem:
    """Correlated rows: a falling spectrum in rotated axes, a common mean, norms that differ, a few tight clusters."""
    generator = torch.Generator().manual_seed(20_001)
    spectrum = torch.arange(1, d + 1, dtype=torch.float32) ** -0.5
    axes = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q
    rows = (torch.randn(v, d, generator=generator) * spectrum) @ axes
    rows += (1.5 * spectrum * torch.randn(d, generator=generator)) @ axes
    rows *= torch.exp(0.15 * torch.randn(v, 1, generator=generator))
    places = torch.randperm(v, generator=generator)[: _CLUSTERS * _CLUSTER_ROWS].reshape(_CLUSTERS, -1)
    for members in places:
        near = _CLUSTER_WIDTH * torch.randn(len(members), d, generator=generator) * spectrum
        rows[members] = rows[members[0]] + near @ axes
    return ArgmaxProblem(rows, Free())


def margins_of(
    name: str, problem: ArgmaxProblem, tokens: int, gap: float, jobs: int, product: Callable[[torch.Tensor], float]
) -> dict[str, Any]:
    """Brackets of a sample of tokens (0 for all), scaled to the whole vocabulary.

    Args:
        name: of the head.
        problem: its argmax problem.
        tokens: how many to take, at random; 0 for all.
        gap: (upper − lower) ≤ gap · |upper| is asked for.
        jobs: cores.
        product: seconds for one blocked product of all rows with each other.
    """
    torch.set_num_threads(jobs)
    backend = ActiveSet(jobs=jobs)
    backend.prepare(problem)
    v = problem.v
    tokens = min(tokens, v) or v
    chosen = np.sort(np.random.default_rng(0).choice(v, tokens, replace=False))
    # Compiled code and warm caches: what a process pays once is no part of the price.
    backend.solve(torch.from_numpy(chosen[:64]), Budget(margin_gap=gap))
    units = [_timed(lambda: product(problem.working_rows())) for _ in range(2)]
    began = time.process_time()
    attempts = backend.solve(torch.from_numpy(chosen), Budget(margin_gap=gap))
    spent = time.process_time() - began
    units.append(_timed(lambda: product(problem.working_rows())))
    unit, cpu_unit = (min(column) for column in zip(*units, strict=True))
    closed = is_closed(attempts, gap)
    share = tokens / v
    return {
        "case": f"margins {name}",
        "v": v,
        "d": problem.d,
        "tokens": tokens,
        "gap": gap,
        "closed": float(closed.mean()),
        "open": int((~closed).sum()),
        "products": attempts.seconds / unit / share,
        # Where other processes share the cores, the time that was spent on them says more than the clock.
        "products_by_processor_time": spent / cpu_unit / share,
        "pricing_products": attempts.work["pricing_seconds"] / unit / share,
        "inner_products": attempts.work["inner_seconds"] / unit / share,
        "product_seconds": unit,
        "seconds": attempts.seconds,
        "pricings_per_token": attempts.work["pricings"] / tokens,
        "rounds": int(attempts.work["rounds"]),
        "candidates": attempts.work["candidates"] / tokens,
        "support": attempts.work["support"] / tokens,
        "unspeakable": int((attempts.upper < 0).sum()),
    }


def scans_of(
    name: str, make: Callable[[], ArgmaxProblem], gap: float, jobs: int, product: Callable[[torch.Tensor], float]
) -> dict[str, Any]:
    """The whole verdict scan and the whole margin scan of a head, in products of the same run.

    Args:
        name: of the head.
        make: a fresh problem for each scan, so that nothing which the last one cached counts.
        gap: (upper − lower) ≤ gap · |upper| is asked for.
        jobs: cores.
        product: seconds for one blocked product of all rows with each other.
    """
    torch.set_num_threads(jobs)
    problem = make()
    scan(make(), ScanSettings(jobs=jobs, margin_gap=gap), tokens=np.arange(64))  # compiled code is read once
    found, units = {}, [product(problem.working_rows())]
    for asked in (None, gap):
        fresh = make()
        began = time.perf_counter()
        result = scan(fresh, ScanSettings(jobs=jobs, margin_gap=asked))
        found[asked] = time.perf_counter() - began
        units.append(product(problem.working_rows()))
    state, unit = result.state, min(units)
    support = sum(len(hull.rows) for hull in state.bounds.values())
    return {
        "case": f"scans {name}",
        "v": problem.v,
        "d": problem.d,
        "gap": gap,
        "closed": 1 - float((is_wide(state.lower, state.upper, gap) & state.alone).mean()),
        "verdict_products": found[None] / unit,
        "margin_products": (found[gap] - found[None]) / unit,
        "product_seconds": unit,
        "verdict_seconds": found[None],
        "seconds": found[gap],
        "unspeakable": int((state.verdict == UNSPEAKABLE).sum()),
        "points_stored": len(state.witnesses),
        "weights_each": support / max(1, len(state.bounds)),
        "stages": {row.stage: f"{row.rows_in} rows, {row.seconds:.2f} s" for row in result.funnel if row.rows_in},
    }


def others_of(
    name: str, problem: ArgmaxProblem, tokens: int, gap: float, jobs: int, quick: float
) -> list[dict[str, Any]]:
    """What other methods take for a margin, a few tokens each, and how many times as long as ours for all tokens.

    Args:
        name: of the head.
        problem: its argmax problem.
        tokens: how many each method is given.
        gap: that the batched interior point is asked for; the others go to their own tolerance.
        jobs: cores.
        quick: seconds that the margin scan takes for the whole vocabulary.
    """
    torch.set_num_threads(jobs)
    chosen = torch.from_numpy(np.sort(np.random.default_rng(1).choice(problem.v, tokens, replace=False)))
    results = []
    for other in ("linprog-highs-ds", "cvxpy:CLARABEL", "batched-barrier"):
        kind = registry.backend(other)
        # A linear program knows no ball: it only decides the sign, over the whole space.
        posed = problem if kind.why_not(problem) is None else problem.over(Free())
        if kind.why_not(posed) is not None:
            continue
        backend = kind(jobs=jobs)
        backend.prepare(posed)
        some = chosen if other == "batched-barrier" else chosen[: max(1, tokens // 16)]
        began = time.perf_counter()
        backend.solve(some, Budget(margin_gap=gap, seconds=300))
        each = (time.perf_counter() - began) / len(some)
        ratio = each * problem.v / quick
        results.append({"case": f"{other} {name}", "tokens": len(some), "seconds_each": each, "times_ours": ratio})
    return results


def truth_of(name: str, problem: ArgmaxProblem, tokens: int, gap: float, jobs: int) -> dict[str, Any]:
    """Do the brackets of a margin scan hold what Clarabel finds at a tight tolerance?

    Args:
        name: of the head.
        problem: its argmax problem.
        tokens: how many are compared: the lowest margins, the highest, and some between, a third each.
        gap: that the scan is asked for.
        jobs: cores.
    """
    torch.set_num_threads(jobs)
    state = scan(problem, ScanSettings(jobs=jobs, margin_gap=gap)).state
    alone = np.flatnonzero(state.alone)
    order = alone[np.argsort(state.upper[alone])]
    third = tokens // 3
    between = np.random.default_rng(2).choice(order[third:-third], tokens - 2 * third, replace=False)
    chosen = np.sort(np.concatenate([order[:third], between, order[-third:]]))
    kind = registry.backend("clarabel")
    backend = kind(jobs=jobs)
    backend.prepare(problem)
    began = time.perf_counter()
    found = backend.solve(torch.from_numpy(chosen), Budget(tolerance=1e-11, margin_gap=1e-7, seconds=3600))
    seconds = time.perf_counter() - began
    # Its own points and weights, worked out without room for rounding; what it claims beside them is not asked.
    points = problem.domain.pulled_in(found.points)
    check = check_witnesses(problem, found.rows, points, dtype=torch.float64, rigorous=False)
    low = check.lower.numpy()
    start, hulls = found.hulls.start, found.hulls
    high = hull_upper_bounds(problem, found.rows, start, hulls.rows, hulls.weights, rigorous=False)
    known = np.isfinite(low) & np.isfinite(high)
    room = _SOLVER_ROOM * np.maximum(np.abs(low), np.abs(high)) + np.abs(high - low)
    apart = known & ((state.lower[chosen] > high + room) | (state.upper[chosen] < low - room))
    return {
        "case": f"truth {name}",
        "tokens": len(chosen),
        "gap": gap,
        "solved": int(known.sum()),
        "brackets_missed": int(apart.sum()),
        "below_0": int((state.upper[chosen] < 0).sum()),
        "solver_gap": float((high - low)[known].max()) if known.any() else None,
        "seconds_each": seconds / len(chosen),
    }


def exponents(gap: float, jobs: int) -> dict[str, Any]:
    """How the time of the margin scan grows with rows and with columns: slopes of log seconds, tokens all."""
    torch.set_num_threads(jobs)

    def seconds(v: int, d: int) -> float:
        problem, began = trained_like_head(v, d), time.perf_counter()
        scan(problem, ScanSettings(jobs=jobs, margin_gap=gap))
        return time.perf_counter() - began

    seconds(2048, 64)
    rows = {v: seconds(v, 128) for v in (4096, 8192, 16384, 32768, 65536)}
    columns = {d: seconds(8192, d) for d in (32, 64, 128, 256, 512, 1024)}
    found: dict[str, Any] = {"case": "growth of a margin scan", "gap": gap}
    for what, times in (("rows", rows), ("columns", columns)):
        found[f"exponent_in_{what}"] = float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])
        found |= {f"seconds_at_{size}_{what}": value for size, value in times.items()}
    return found


def _timed(product: Callable[[], float]) -> tuple[float, float]:
    """Seconds of a product by the clock, and on all cores together."""
    began = time.process_time()
    return product(), time.process_time() - began


def is_closed(attempts: Attempts, gap: float) -> np.ndarray:
    """Which brackets are as narrow as asked for, or hold nothing but rounding around 0."""
    lower, upper = attempts.lower.numpy(), attempts.upper.numpy()
    with np.errstate(invalid="ignore"):
        narrow = upper - lower <= gap * np.abs(upper)
    typical = float(np.median(np.abs(upper[np.isfinite(upper)])))
    return narrow | (np.abs(upper) <= 1e-9 * typical)


def margin_memory(d: int, tokens: int, gap: float, jobs: int) -> dict[str, Any]:
    """Peak memory of the brackets of a sample in fresh processes for 8192, 16384 and 32768 rows."""
    here = str(Path(__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {here!r}); import torch; from margin_bench import trained_like_head;"
        "from solvers.backend import Budget; from solvers.backends.active_set import ActiveSet;"
        f"torch.set_num_threads({jobs}); p = trained_like_head(int(sys.argv[1]), {d}); b = ActiveSet(jobs={jobs});"
        f"b.prepare(p); b.solve(torch.arange({tokens}), Budget(margin_gap={gap}));"
        # The kernel's high-water mark of this address space; ru_maxrss would start at the parent's.
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    result: dict[str, Any] = {"case": "memory of margins", "d": d, "tokens": tokens}
    for v in (8192, 16384, 32768):
        command = [sys.executable, "-c", code, str(v)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result[f"peak_mib_at_{v}"] = 1024 * int(done.stdout.split()[-1]) / MIB
    result["growth_mib"] = result["peak_mib_at_32768"] - result["peak_mib_at_8192"]
    result["rows_growth_mib"] = (32768 - 8192) * d * 4 / MIB
    return result
