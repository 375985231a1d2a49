"""Rows inside the hull of the others, proved without rational arithmetic, beside `highs` and an exact solution."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from reach.runs.folder import RunFolder
from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.state import UNSPEAKABLE, ScanState
from solvers import registry
from solvers.backend import Budget
from solvers.basis import candidate_supports
from solvers.domains import Free
from solvers.problem import ArgmaxProblem

MIB = 2**20


def planted_rows(rows: int, columns: int, inner: int, size: float, dtype: torch.dtype) -> torch.Tensor:
    """Gaussian rows, the last `inner` of them `size` times as long: near the mean, and inside the hull."""
    generator = torch.Generator().manual_seed(rows + columns)
    matrix = torch.empty((rows, columns), dtype=dtype)
    for start in range(0, rows, 4096):
        part = matrix[start : start + 4096]
        part.copy_(torch.randn(part.shape, generator=generator))
    matrix[rows - inner :] = (size * torch.randn((inner, columns), generator=generator)).to(dtype)
    return matrix


def odd_rows(matrix: torch.Tensor) -> list[int]:
    """Put a zero row, a doubled row and the middle of two others in the place of rows 0, 1 and 2."""
    matrix[0] = 0
    matrix[1] = 2 * matrix[3]
    matrix[2] = ((matrix[4].float() + matrix[5].float()) / 2).to(matrix.dtype)
    return [0, 1, 2]


def inside_case(
    rows: int, columns: int, inner: int, size: float, *, half: bool, odd: bool = False, whole: bool = False
) -> dict[str, Any]:
    """`reach scan` and `reach verify` of a planted head with an RMSNorm, each in a process of its own.

    Args:
        rows, columns: of the head.
        inner: how many rows are planted.
        size: their length, relative to the others'.
        half: whether the head is stored in bfloat16, else in float32.
        odd: whether it has a zero row, a doubled one and the middle of two others as well.
        whole: whether all tokens are scanned, or only those that are planted.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        matrix = planted_rows(rows, columns, inner, size, torch.bfloat16 if half else torch.float32)
        strange = odd_rows(matrix) if odd else []
        save_file({"W": matrix}, folder / "head.safetensors")
        del matrix
        wanted = ",".join(map(str, [*strange, f"{rows - inner}-{rows - 1}"]))
        head = ["--head", str(folder / "head.safetensors"), "--norm", "rmsnorm", "--quiet"]
        run = folder / "run"
        tokens = [] if whole else ["--tokens", wanted]
        scan = ["scan", *head, "--out", str(run), "--no-report", *tokens]
        seconds = _timed([sys.executable, "-m", "reach.cli", *scan])
        manifest = RunFolder.open(run).manifest
        verdicts = RunFolder.open(run).verdicts()
        verified = _timed([sys.executable, "-m", "reach.cli", "verify", str(run), *head, "--json"])
    found = {verdicts.entry(t, "verdict")["verdict"] for t in range(rows - inner, rows)}
    stages = {row["stage"]: round(row["seconds"], 2) for row in manifest["funnel"] if row["seconds"] > 0.005}
    return {
        "case": f"{inner} rows inside {rows} × {columns} {'bfloat16' if half else 'float32'}",
        "planted": "/".join(sorted(map(str, found))),
        "odd": [verdicts.entry(t, "verdict", "evidence", "reason") for t in strange],
        "seconds_each": stages.get("analytic-centre", 0.0) / inner,
        "scan_seconds": seconds,
        "verify_seconds": verified,
        "peak_mib": manifest["peak_memory_bytes"] / MIB,
        "stages": stages,
    }


def by_rationals(rows: int, columns: int, inner: int, size: float, tokens: int) -> dict[str, Any]:
    """The same head and some of the same tokens by the simplex method and an exact solution over its support."""
    problem = ArgmaxProblem(planted_rows(rows, columns, inner, size, torch.float32), Free())
    simplex = registry.backend("highs")()
    simplex.prepare(problem)
    judge = Judge(problem, ScanState(problem.v), ScanSettings())
    started = time.perf_counter()
    for token in range(rows - tokens, rows):
        hull = simplex.solve(torch.tensor([token]), Budget(tolerance=1e-10)).hulls.of(0)
        if hull is not None and not judge.exact_hull(token, hull[0], 0):
            any(judge.exact_hull(token, support, 0) for support in candidate_supports(problem, token, hull[0]))
    seconds = (time.perf_counter() - started) / tokens
    proved = int((judge.state.verdict == UNSPEAKABLE).sum())
    return {"case": "highs and rational arithmetic", "tokens": tokens, "proved": proved, "seconds_each": seconds}


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(json.dumps({"command": command, "ended": ended.returncode, "said": ended.stderr[-2000:]}))
    return time.perf_counter() - started
