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

from solvers.attempt import Attempts
from solvers.backend import Budget
from solvers.backends.active_set import ActiveSet
from solvers.domains import Free
from solvers.problem import ArgmaxProblem

MIB = 2**20
_CLUSTERS, _CLUSTER_ROWS, _CLUSTER_WIDTH = 5, 40, 0.02


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
