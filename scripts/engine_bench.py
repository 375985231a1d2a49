"""What engines cost beside the in-process one, and what killed workers cost.

    python scripts/engine_bench.py overhead MODEL…    # scans by each engine, in turns
    python scripts/engine_bench.py kills MODEL        # scans whose workers are killed at random

Ray is measured where it is installed. All engines have the same cores.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import reach
from reach.engines.settings import ENGINES, EngineOptions
from reach.options import default_jobs
from reach.scanning.journal import Journal
from reach.scanning.part import Part
from reach.scanning.scan import ScanResult, scan
from reach.scanning.settings import ScanSettings

app = typer.Typer(help=__doc__, add_completion=False)
Blocks = Annotated[int, typer.Option(help="Tokens per block.")]


@app.command("overhead")
def overhead(
    models: Annotated[list[Path], typer.Argument(help="Model folders.")],
    repeats: Annotated[int, typer.Option(help="Scans by each engine.")] = 5,
    block_tokens: Blocks = 512,
    jobs: Annotated[int, typer.Option(help="Cores.")] = default_jobs(),
) -> None:
    """Scans of each model by each engine in turns, each of a fresh problem, after one that starts the workers."""
    for model in models:
        head, settings = reach.load(model), ScanSettings(jobs=jobs, block_tokens=block_tokens)
        names = [name for name in ENGINES if name != "ray" or find_spec("ray")]
        engines, started = {}, {}
        for name in names:
            began = time.perf_counter()
            engines[name] = EngineOptions(engine=name).open(jobs)
            first = scan(head.problem(), settings, engine=engines[name])
            started[name] = time.perf_counter() - began, digest(first)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        digests = {name: {started[name][1]} for name in names}
        for _ in range(repeats):
            for name in names:
                problem = head.problem()
                began = time.perf_counter()
                result = scan(problem, settings, engine=engines[name])
                seconds[name].append(time.perf_counter() - began)
                digests[name].add(digest(result))
        for engine in engines.values():
            engine.shutdown()
        for name in names:
            ratios = [mine / base for mine, base in zip(seconds[name], seconds[ENGINES[0]], strict=True)]
            # Products of two threads may round otherwise than those of one.
            alone = replace(settings, jobs=jobs if name == ENGINES[0] else engines[name].jobs)
            same = digests[name] == {digest(scan(head.problem(), alone))}
            typer.echo(
                f"{model.name}  {name:<11} {statistics.median(seconds[name]):7.2f} s  "
                f"{statistics.median(ratios):5.2f} x ({min(ratios):.2f} to {max(ratios):.2f})  "
                f"start and first scan {started[name][0]:.2f} s  "
                f"{'same bytes' if same else 'OTHER BYTES'}"
            )


@app.command("kills")
def kills(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    engine: Annotated[str, typer.Option(help="processes or ray.")] = "ray",
    runs: Annotated[int, typer.Option(help="How many scans.")] = 10,
    workers: Annotated[int, typer.Option(help="Of the engine.")] = 2,
    every: Annotated[float, typer.Option(help="Mean seconds between two kills.")] = 1.0,
    block_tokens: Blocks = 64,
) -> None:
    """Scan again and again while workers are killed with SIGKILL; what is found must be the same to the byte."""
    head, settings = reach.load(model), ScanSettings(jobs=1, block_tokens=block_tokens)
    problem = head.problem()
    truth = digest(scan(problem, settings))
    with EngineOptions(engine=engine, workers=workers).open() as made:
        for run in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                work = partial(scan, problem, settings, journal=Journal(Path(folder)), engine=made)
                result, killed = _while_killing(work, run, every)
                lost, doubled = _lost_and_doubled(Path(folder), result)
            same = "same bytes" if digest(result) == truth else "OTHER BYTES"
            typer.echo(f"run {run + 1}: {killed} workers killed, {lost} rows lost, {doubled} doubled, {same}")


def digest(result: ScanResult) -> str:
    """Of everything that a scan knows of every row."""
    part = Part.of(result.state, np.arange(result.state.v))
    found = hashlib.sha256(repr(sorted(part.reasons.items())).encode())
    for name, array in sorted(part.packed().items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _while_killing(work: Callable[[], ScanResult], seed: int, every: float) -> tuple[ScanResult, int]:
    rng, over, killed = random.Random(seed), threading.Event(), list[int]()

    def kill() -> None:
        while not over.wait(rng.uniform(0.5 * every, 1.5 * every)):
            below = descendants(os.getpid()).items()
            working = [pid for pid, name in below if name.startswith("ray::_call") or "spawn_main" in name]
            if working:
                killed.append(rng.choice(working))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        return work(), len(killed)
    finally:
        over.set()
        killer.join()


def descendants(parent: int) -> dict[int, str]:
    """The processes below one, and what they are called."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                names[int(entry.name)] = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
    found, below = {parent}, dict[int, str]()
    while more := {pid for pid, of in parents.items() if of in found} - found:
        found |= more
        below |= {pid: names.get(pid, "") for pid in more}
    return below


def _lost_and_doubled(folder: Path, result: ScanResult) -> tuple[int, int]:
    """Rows that no block of the first stage has, and rows that two blocks of one stage have."""
    deltas = Journal(folder).read(result.state.v)
    doubled = 0
    for number in {delta.record.stage for delta in deltas}:
        rows = np.concatenate([delta.part.rows for delta in deltas if delta.record.stage == number])
        doubled += len(rows) - len(np.unique(rows))
    first = np.concatenate([delta.part.rows for delta in deltas if delta.record.stage == 0])
    return result.state.v - len(np.unique(first)), doubled


if __name__ == "__main__":
    app()
