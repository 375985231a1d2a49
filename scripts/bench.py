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
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.torch import save_file

from reach.compare.rounds import judged
from reach.interference.packing import expected_strongest
from reach.interference.pairs import all_pairs
from reach.options import default_jobs
from reach.runs.environment import hardware, package_versions
from reach.runs.folder import RunFolder
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN
from solvers import registry
from solvers.backend import Budget
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
    _tell(results, as_json)


@app.command("solvers")
def bench_solvers(
    rows: Annotated[int, typer.Option(help="Rows of the synthetic head.")] = 30000,
    columns: Annotated[int, typer.Option(help="Its columns.")] = 384,
    batch: Annotated[int, typer.Option(help="Rows that the batched backends are given.")] = 1000,
    single: Annotated[int, typer.Option(help="Rows that linprog is given.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda, for the batched backends.")] = "cpu",
    backends: Annotated[str, typer.Option(help="Batched backends, separated by commas; all by default.")] = "",
) -> None:
    """Rows per second of the batched backends, verified by the checkers, against linprog with all rows."""
    problem = own_direction_head(rows, columns, offsets=False)
    torch.set_num_threads(default_jobs())
    slow = _rate("linprog-highs-ds", problem, single, "cpu")
    _tell([slow])
    named = [name for name in backends.split(",") if name]
    for entry in registry.entries():
        if entry.missing() is not None or not entry.load().capabilities.batched:
            continue
        if (named and entry.name not in named) or entry.load().why_not(problem) is not None:
            continue
        fast = _rate(entry.name, problem, batch, device)
        fast["ratio"] = fast["verified_rows_per_second"] / slow["rows_per_second"]
        _tell([fast])


def _rate(name: str, problem: ArgmaxProblem, rows: int, device: str) -> dict[str, Any]:
    """Solve some rows and count those whose certificate the checkers accept. Only the solve is timed."""
    backend = registry.backend(name)(device=device, jobs=default_jobs())
    backend.prepare(problem)
    chosen = torch.from_numpy(np.random.default_rng(0).choice(problem.v, size=rows, replace=False))
    started = time.perf_counter()
    attempts = backend.solve(chosen, Budget())
    seconds = time.perf_counter() - started
    state = judged(problem, attempts, ScanSettings())
    verified = int((state.verdict[chosen.numpy()] != OPEN).sum())
    return {
        "case": f"solver {name}",
        "rows": rows,
        "verified": verified,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "verified_rows_per_second": verified / seconds,
    }


@app.command("interference")
def bench_interference(
    rows: Annotated[int, typer.Option(help="Rows of the synthetic matrix.")] = 30000,
    columns: Annotated[list[int] | None, typer.Option(help="Its columns; repeatable. Default: 64, 384, 768.")] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each side of the ratio, in turns; the fastest counts.")] = 3,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """All-pairs statistics against one blocked V×V×d float32 product, and their memory against V."""
    results = [interference_ratio(rows, d, repeats) for d in columns or (64, 384, 768)]
    results.append(interference_memory(256))
    _tell(results, as_json)


@app.command("search")
def bench_search(
    models: Annotated[list[Path] | None, typer.Argument(help="Model folders. Default: the demo model.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    level: Annotated[str, typer.Option(help="free, norm or hull.")] = "free",
    length: Annotated[int, typer.Option(help="Free positions.")] = 1,
    steps: Annotated[int, typer.Option(help="Optimisation steps per target, on both sides.")] = 50,
    optimizer: Annotated[str, typer.Option(help="adam, adamw, sgd or lbfgs, on both sides.")] = "sgd",
    targets: Annotated[int, typer.Option(help="Targets of the batched search.")] = 4096,
    plain_seconds: Annotated[float, typer.Option(help="Time that the plain loop is given.")] = 30.0,
    jobs: Annotated[int, typer.Option(help="Cores for both.")] = 2,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Targets per second of the batched search over those of a plain loop with the same optimiser and steps."""
    from search_bench import search_ratio

    from reach.demo import demo_model

    results = [
        search_ratio(folder, device, level, length, steps, optimizer, targets, plain_seconds, jobs)
        for folder in models or [demo_model()]
    ]
    _tell(results, as_json)


@app.command("guided")
def bench_guided(
    models: Annotated[list[Path] | None, typer.Argument(help="Model folders. Default: the demo model.")] = None,
    level: Annotated[str, typer.Option(help="tokens or text.")] = "tokens",
    length: Annotated[int, typer.Option(help="Positions of a prompt.")] = 4,
    seconds: Annotated[float, typer.Option(help="Time of each engine.")] = 30.0,
    rounds: Annotated[int, typer.Option(help="Random prompts that all begin with, in units of 512.")] = 8,
    widths: Annotated[str, typer.Option(help="Candidates per step of nanoGCG, each tried in turn.")] = "16,64,256",
) -> None:
    """Prompts of real tokens: tokens found in the same time by our guided search, by nanoGCG and by chance."""
    from search_bench import guided_finds

    from reach.demo import demo_model

    ways = ["random", "own", "own with random", *(f"nanogcg {width}" for width in widths.split(",") if width)]
    for folder in models or [demo_model()]:
        for way in ways:
            _tell([guided_finds(folder, way, level, length, seconds, rounds)])


@app.command("memory")
def bench_memory(
    rows: Annotated[int, typer.Option(help="Rows of the synthetic model's output matrix.")] = 128_256,
    columns: Annotated[int, typer.Option(help="Its columns.")] = 4096,
    tokens: Annotated[str, typer.Option(help="Tokens to scan, as for reach scan.")] = "0-4095",
    hard_every: Annotated[int, typer.Option(help="One row in so many is no own-direction row; 0 for none.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Peak memory of `reach scan` on a large bfloat16 head. Needs rows × columns × 2 bytes of disk; not in `all`."""
    with tempfile.TemporaryDirectory() as folder:
        write_large_model(Path(folder) / "model", rows, columns, hard_every)
        seconds, manifest = _timed_scan([str(Path(folder) / "model"), "--tokens", tokens])
    counts = manifest["totals"]["verdicts"]
    result = {
        "case": "memory of a large head",
        "v": rows,
        "d": columns,
        "tokens": tokens,
        "undecided": counts["undecided"],
        "hard_to_speak": manifest["totals"]["hard_to_speak"],
        "seconds": seconds,
        "peak_mib": manifest["peak_memory_bytes"] / MIB,
        "stages": {row["stage"]: round(row["seconds"], 1) for row in manifest["funnel"]},
    }
    _tell([result], as_json)


def write_large_model(folder: Path, rows: int, columns: int, hard_every: int) -> None:
    """A model folder with nothing but a head, looking like a small part of a Llama: bfloat16, RMSNorm, no offsets.

    Some rows lie in the middle of two others, up to rounding: they win nowhere near themselves. The last hundred are
    equal, as those of reserved tokens often are.
    """
    generator = torch.Generator().manual_seed(20_000)
    spectrum = torch.arange(1, columns + 1, dtype=torch.float32) ** -0.25
    mean = 0.5 * spectrum * torch.randn(columns, generator=generator)
    matrix = torch.empty((rows, columns), dtype=torch.bfloat16)
    for start in range(0, rows, 4096):
        part = matrix[start : start + 4096]
        norms = torch.exp(0.1 * torch.randn(len(part), 1, generator=generator))
        part.copy_((torch.randn(part.shape, generator=generator) * spectrum + mean) * norms)
    for row in range(0, rows - 2, hard_every) if hard_every else ():
        matrix[row] = matrix[row + 1 : row + 3].float().mean(dim=0).to(torch.bfloat16)
    matrix[-100:] = matrix[-1].clone()
    folder.mkdir()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
    config |= {"vocab_size": rows, "hidden_size": columns, "rms_norm_eps": 1e-5}
    (folder / "config.json").write_text(json.dumps(config))
    gamma = torch.exp(0.1 * torch.randn(columns, generator=generator)).to(torch.bfloat16)
    save_file({"lm_head.weight": matrix, "model.norm.weight": gamma}, folder / "model.safetensors")


@app.command("inside")
def bench_inside(
    wide: Annotated[bool, typer.Option(help="Also 300 rows inside 32768 × 4096, bfloat16, all scanned.")] = False,
    large: Annotated[bool, typer.Option(help="Also 256 and three odd ones in 128256 × 4096, bfloat16.")] = False,
    exact_tokens: Annotated[int, typer.Option(help="Tokens proved by rational arithmetic, for comparison.")] = 2,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Rows inside the hull of the others, beside `highs` with rational arithmetic. Not in `all`."""
    from inside_bench import by_rationals, inside_case

    cases = [lambda: inside_case(8000, 768, 64, 0.02, half=False)]
    cases += [lambda: by_rationals(8000, 768, 64, 0.02, exact_tokens)] if exact_tokens else []
    cases += [lambda: inside_case(32768, 4096, 300, 0.01, half=True, whole=True)] if wide else []
    cases += [lambda: inside_case(128_256, 4096, 256, 0.002, half=True, odd=True)] if large else []
    _tell((case() for case in cases), as_json)


@app.command("gate")
def bench_gate(
    rows: Annotated[int, typer.Option(help="Rows of the random bfloat16 head.")] = 151936,
    columns: Annotated[int, typer.Option(help="Its columns.")] = 5120,
    asked: Annotated[int, typer.Option(help="Rows without a token, which are decided.")] = 297,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """The release gate as a command, from its start to its end; writes the head to the temporary folder."""
    from gate_bench import gate_cases

    _tell(gate_cases(rows, columns, asked), as_json)


@app.command("margins")
def bench_margins(
    models: Annotated[list[Path] | None, typer.Argument(help="Model folders, all their tokens.")] = None,
    rows: Annotated[int, typer.Option(help="Rows of the synthetic head; 0 for none.")] = 30000,
    columns: Annotated[int, typer.Option(help="Its columns.")] = 384,
    tokens: Annotated[int, typer.Option(help="Tokens of it to take, scaled to all; 0 for all.")] = 4096,
    gaps: Annotated[str, typer.Option(help="Relative gaps between the bounds, separated by commas.")] = "0.01,0.001",
    scans: Annotated[bool, typer.Option(help="Also whole verdict and margin scans of the same heads.")] = False,
    others: Annotated[int, typer.Option(help="Also other methods, on so many tokens of the first gap; 0: none.")] = 0,
    growth: Annotated[bool, typer.Option(help="Also growth with rows (to 65,536) and columns (to 1,024).")] = False,
    memory: Annotated[bool, typer.Option(help="Also peak memory against the number of rows.")] = False,
    truth: Annotated[int, typer.Option(help="Also so many brackets of each head beside Clarabel's values.")] = 0,
    jobs: Annotated[int | None, typer.Option(help="Cores; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Brackets on margins, in products: by the active-set backend alone, and in whole scans. Not in `all`."""
    from margin_bench import trained_like_head

    from reach.api import load

    heads = [("trained-like", partial(trained_like_head, rows, columns), tokens)] if rows else []
    heads += [(folder.name, load(folder).problem, 0) for folder in models or []]
    wanted = [float(gap) for gap in gaps.split(",")]
    _tell(
        _margin_results(heads, wanted, jobs or default_jobs(), scans, others, growth, memory, columns, truth), as_json
    )


def _margin_results(
    heads: list[tuple[str, Callable[[], ArgmaxProblem], int]],
    gaps: list[float],
    cores: int,
    scans: bool,
    others: int,
    growth: bool,
    memory: bool,
    columns: int,
    truth: int,
) -> Iterator[dict[str, Any]]:
    from margin_bench import exponents, margin_memory, margins_of, others_of, scans_of, truth_of

    for name, make, taken in heads:
        for gap in gaps:
            alone = margins_of(name, make(), taken, gap, cores, blocked_product)
            yield alone
            whole = scans_of(name, make, gap, cores, blocked_product) if scans else None
            yield from [] if whole is None else [whole]
        if truth:
            yield truth_of(name, make(), truth, gaps[0], cores)
        if others:
            share = alone["tokens"] / alone["v"]
            quick = alone["seconds"] / share if whole is None else whole["seconds"]
            yield from others_of(name, make(), others, gaps[0], cores, quick)
    if growth:
        yield exponents(gaps[0], cores)
    if memory:
        yield margin_memory(columns, 2048, gaps[0], cores)


@app.command("all")
def bench_all(models: Annotated[list[Path] | None, typer.Argument()] = None) -> None:
    """Every benchmark with its defaults."""
    bench_scan(models)
    bench_interference()


def _timed_scan(arguments: list[str]) -> tuple[float, dict[str, Any]]:
    """`reach scan` as a user runs it: the wall-clock seconds of a fresh process, and the manifest of its run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "reach.cli", "scan", *arguments, "--out", str(out), "--quiet"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started, RunFolder.open(out).manifest


def _end_to_end(name: str, arguments: list[str]) -> dict[str, Any]:
    """A scan beside the blocked product of the same size."""
    seconds, manifest = _timed_scan(arguments)
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
        result = scan(fresh, settings)
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
    # A seed that no backend draws its samples with: they would repeat the rows themselves.
    generator = torch.Generator().manual_seed(20_000)
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
        f"import sys, torch; sys.path.insert(0, {here!r}); import bench; from reach.scanning.scan import scan;"
        "from reach.scanning.settings import ScanSettings; from reach.runs.environment import peak_memory_bytes;"
        f"v = int(sys.argv[1]); p = bench.own_direction_head(v, {d}, offsets=False);"
        "scan(p, ScanSettings(jobs=2)); print(peak_memory_bytes())"
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


def bare_product(rows: torch.Tensor, block_bytes: int = BLOCK_BYTES) -> float:
    """Seconds for one blocked float32 V×V×d product that nothing is read from: the strictest unit of cost."""
    step = max(1, block_bytes // (4 * len(rows)))
    buffer = torch.empty((step, len(rows)))
    started = time.perf_counter()
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        torch.mm(block, rows.T, out=buffer[: len(block)])
    return time.perf_counter() - started


def interference_ratio(v: int, d: int, repeats: int) -> dict[str, Any]:
    """The pass over all pairs, with two thresholds counted, against the bare product; in turns, fastest of each."""
    jobs = default_jobs()
    torch.set_num_threads(jobs)
    unit = torch.nn.functional.normalize(torch.randn(v, d, generator=torch.Generator().manual_seed(0)))
    thresholds = (expected_strongest(v, d), 0.5)
    products, passes = [], []
    for _ in range(max(1, repeats)):
        products.append(bare_product(unit))
        started = time.perf_counter()
        all_pairs(unit, thresholds, jobs=jobs)
        passes.append(time.perf_counter() - started)
    return {
        "case": "all pairs",
        "v": v,
        "d": d,
        "pass_seconds": min(passes),
        "product_seconds": min(products),
        "ratio": min(passes) / min(products),
    }


def interference_memory(d: int) -> dict[str, Any]:
    """Peak memory of the pass over 8192, 16384 and 32768 rows in fresh processes, beside what the rows need."""
    code = (
        "import sys, torch; from reach.interference.pairs import all_pairs;"
        "v, d = map(int, sys.argv[1:]);"
        "unit = torch.empty(v, d).normal_(); unit /= unit.norm(dim=1, keepdim=True);"
        "all_pairs(unit, (0.5,), jobs=2);"
        # The kernel's high-water mark of this address space; ru_maxrss would start at the parent's.
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    peaks = {}
    for v in (8192, 16384, 32768):
        done = subprocess.run(
            [sys.executable, "-c", code, str(v), str(d)], check=True, capture_output=True, text=True
        )
        peaks[v] = 1024 * int(done.stdout.split()[-1])
    result: dict[str, Any] = {"case": "memory of all pairs", "d": d}
    result |= {f"peak_mib_at_{v}": peak / MIB for v, peak in peaks.items()}
    # V² would grow by 3840 MiB; the rows themselves have to be there.
    result["growth_mib"] = (peaks[32768] - peaks[8192]) / MIB
    result["rows_growth_mib"] = (32768 - 8192) * d * 4 / MIB
    return result


def _fastest(run: Callable[[], float], repeats: int) -> float:
    return min(run() for _ in range(max(1, repeats)))


def _tell(results: Iterable[dict[str, Any]], as_json: bool = False) -> None:
    """A line for each result as soon as it is there; at the end all of them as JSON, with the machine they are of."""
    told = []
    for result in results:
        told.append(result)
        typer.echo("  ".join(f"{key}={_shown(value)}" for key, value in result.items()))
    if as_json:
        typer.echo(json.dumps({"results": told, "hardware": hardware(), "versions": package_versions()}, indent=1))


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    app()
