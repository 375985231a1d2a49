"""Benchmarks: what a scan costs, as ratios to one blocked V×V×d product in the same run.

Machines are shared and noisy, so no time here is a promise: read the ratios. Each case prints one line and, with
`--json`, everything is printed as JSON at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from reach.runs.environment import hardware, package_versions
from reach.runs.folder import RunFolder
from reach.scan.scan import scan
from reach.scan.settings import ScanSettings, default_jobs
from solvers.domains import Ball, Free
from solvers.problem import BLOCK_BYTES, ArgmaxProblem

app = typer.Typer(help=__doc__, add_completion=False)
MIB = 2**20


@app.command("scan")
def bench_scan(
    models: Annotated[list[Path] | None, typer.Argument(help="Model folders to scan besides the demo model.")] = None,
    rows: Annotated[int, typer.Option(help="Rows of the synthetic own-direction head.")] = 30000,
    columns: Annotated[int, typer.Option(help="Its columns.")] = 384,
    repeats: Annotated[int, typer.Option(help="Runs of each side of the ratio; the fastest counts.")] = 2,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Scans of real models end to end, and the own-direction head against one product."""
    results = [_end_to_end("demo", [])]
    results += [_end_to_end(folder.name, [str(folder)]) for folder in models or []]
    results.append(own_direction_ratio(rows, columns, repeats, offsets=False))
    results.append(own_direction_ratio(rows, columns, repeats, offsets=True))
    results.append(memory_against_rows(columns))
    for result in results:
        typer.echo("  ".join(f"{key}={_shown(value)}" for key, value in result.items()))
    if as_json:
        typer.echo(json.dumps({"results": results, "hardware": hardware(), "versions": package_versions()}, indent=1))


@app.command("all")
def bench_all(models: Annotated[list[Path] | None, typer.Argument()] = None) -> None:
    """Every benchmark with its defaults."""
    bench_scan(models)


def _end_to_end(name: str, arguments: list[str]) -> dict[str, Any]:
    """`reach scan` as a user runs it: a fresh process, its wall-clock time and its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "reach.cli", "scan", *arguments, "--out", str(out), "--quiet"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        manifest = RunFolder.open(out).manifest
    v, d = manifest["v"], manifest["d"]
    product = min(blocked_product(torch.randn(v, d)) for _ in range(3))
    counts = manifest["totals"]["verdicts"]
    return {
        "case": f"scan {name}",
        "v": v,
        "d": d,
        "undecided": counts["undecided"],
        "unspeakable": counts["unspeakable"],
        "seconds": seconds,
        "scan_seconds": manifest["seconds"],
        "products": manifest["seconds"] / product,
        "peak_mib": manifest["peak_memory_bytes"] / MIB,
    }


def blocked_product(rows: torch.Tensor, block_bytes: int = BLOCK_BYTES) -> float:
    """Seconds for one blocked float32 V×V×d product with the argmax of every row: the unit of cost."""
    v = len(rows)
    step = max(1, block_bytes // (4 * v))
    buffer = torch.empty((step, v))
    started = time.perf_counter()
    for start in range(0, v, step):
        block = rows[start : start + step]
        torch.mm(block, rows.T, out=buffer[: len(block)]).max(dim=1)
    return time.perf_counter() - started


def own_direction_ratio(v: int, d: int, repeats: int, *, offsets: bool) -> dict[str, Any]:
    """The whole verdict scan, proofs included, of a head where nearly all rows are own-direction."""
    problem = own_direction_head(v, d, offsets=offsets)
    settings = ScanSettings(jobs=default_jobs())
    torch.set_num_threads(settings.jobs)
    product = _fastest(lambda: blocked_product(problem.working_rows()), repeats)
    results = []

    def once() -> None:
        # A fresh problem each time: nothing that the last run cached may count.
        fresh = own_direction_head(v, d, offsets=offsets)
        started = time.perf_counter()
        result = scan(fresh, settings, quiet=True)
        results.append((time.perf_counter() - started, result))

    for _ in range(repeats):
        once()
    seconds, result = min(results, key=lambda pair: pair[0])
    product = min(product, _fastest(lambda: blocked_product(problem.working_rows()), 1))
    return {
        "case": f"own-direction {'with' if offsets else 'without'} offsets",
        "v": v,
        "d": d,
        "own_direction": float(result.state.own_direction.mean()),
        "open": int((result.state.verdict == 0).sum()),
        "scan_seconds": seconds,
        "product_seconds": product,
        "ratio": seconds / product,
    }


def own_direction_head(v: int, d: int, *, offsets: bool) -> ArgmaxProblem:
    """A head with the looks of a trained one: a falling spectrum, a common mean, norms that differ."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.arange(1, d + 1, dtype=torch.float32) ** -0.25
    rows = torch.randn(v, d, generator=generator) * spectrum
    rows += 0.5 * spectrum * torch.randn(d, generator=generator)
    rows *= torch.exp(0.1 * torch.randn(v, 1, generator=generator))
    if not offsets:
        return ArgmaxProblem(rows, Free())
    return ArgmaxProblem(rows, Ball(float(d)), bias=torch.randn(v, generator=generator))


def memory_against_rows(d: int) -> dict[str, Any]:
    """Peak memory of scans of 1, 2 and 4 × 8192 rows in fresh processes, less the rows themselves."""
    here = str(Path(__file__).parent)
    code = (
        f"import sys, torch; sys.path.insert(0, {here!r}); import bench; from reach.scan.scan import scan;"
        "from reach.scan.settings import ScanSettings; from reach.runs.environment import peak_memory_bytes;"
        f"v = int(sys.argv[1]); p = bench.own_direction_head(v, {d}, offsets=False);"
        "scan(p, ScanSettings(jobs=2), quiet=True); print(peak_memory_bytes())"
    )
    peaks = {}
    for v in (8192, 16384, 32768):
        done = subprocess.run([sys.executable, "-c", code, str(v)], check=True, capture_output=True, text=True)
        peaks[v] = int(done.stdout.split()[-1])
    result: dict[str, Any] = {"case": "memory against rows", "d": d}
    for v, peak in peaks.items():
        result[f"peak_mib_at_{v}"] = peak / MIB
    # V² would grow by (32768² − 8192²)·4 bytes = 3840 MiB.
    result["growth_mib"] = (peaks[32768] - peaks[8192]) / MIB
    result["rows_growth_mib"] = (32768 - 8192) * d * 4 / MIB
    return result


def _fastest(run: Callable[[], float], repeats: int) -> float:
    return min(run() for _ in range(max(1, repeats)))


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    app()
