"""Small heads of every kind, whole results as bytes, and tasks that workers can import."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from reach.runs.schema import HULL_WEIGHTS
from reach.scanning.scan import ScanResult, scan
from reach.scanning.settings import ScanSettings
from reach.scanning.tables import build_tables
from reach.vocabulary import Vocabulary
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem

KINDS = ("cone", "cone inside a ball", "ball", "box", "free")


def head(kind: str, seed: int, v: int = 90, d: int = 4) -> ArgmaxProblem:
    """Rows of very different lengths, two of them equal: verdicts of every kind from many stages."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((v, d), generator=generator) * torch.rand((v, 1), generator=generator)
    rows[7] = rows[11:14].mean(dim=0)
    rows[20] = rows[21]
    bias = 0.5 * torch.randn(v, generator=generator)
    bias[20] = bias[21]
    domain = {
        "cone": Free(), "cone inside a ball": Ball(2.0), "ball": Ball(3.0), "free": Free(),
        "box": Box(torch.full((d,), -1.0, dtype=torch.float64), torch.full((d,), 2.0, dtype=torch.float64)),
    }[kind]  # fmt: skip
    return ArgmaxProblem(rows, domain, bias=None if kind.startswith("cone") else bias)


def settings_of(kind: str, **more: Any) -> ScanSettings:
    """Blocks so small that every stage has several; margins where there are any."""
    return ScanSettings(block_tokens=16, margin_gap=None if kind == "free" else 0.05, **more)


def table_bytes(problem: ArgmaxProblem, result: ScanResult) -> bytes:
    """The tables of a run and its witnesses as they would be written, less the clock."""
    names = [f"token {t}" for t in range(problem.v)]
    tables = build_tables(problem, result, Vocabulary(names, names, []))
    stream = io.BytesIO()
    for table in (tables.verdicts, tables.hull_weights, tables.margin_weights):
        pq.write_table(HULL_WEIGHTS.empty_table() if table is None else table, stream)
    for token, point in sorted(tables.witnesses.items()):
        stream.write(f"{token} {point.dtype}".encode() + point.tobytes())
    if tables.inside is not None:
        stream.write(b"".join(np.ascontiguousarray(part).tobytes() for part in vars(tables.inside).values()))
    return stream.getvalue()


def scanned(kind: str, seed: int, **options: Any) -> bytes:
    """Scan a head; its tables."""
    problem = head(kind, seed)
    return table_bytes(problem, scan(problem, settings_of(kind), **options))


def files_of(run: Path) -> dict[str, str]:
    """What a run's tables and witnesses hold, by name."""
    files = (file for file in run.rglob("*") if file.suffix in (".parquet", ".safetensors"))
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def plus_one(number: int) -> int:
    return number + 1


def size_of(shared: Any) -> tuple[int, float]:
    """What a worker sees of a shared tensor, and who it is."""
    return os.getpid(), float(shared.get()["rows"].to(torch.float64).sum())


def die_once(marker: str) -> str:
    """Kill the worker at the first attempt."""
    if not Path(marker).exists():
        Path(marker).write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die_always() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def complain() -> None:
    from solvers.errors import BadInput

    raise BadInput("this head is not to my liking")
