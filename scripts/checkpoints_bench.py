"""What twelve checkpoints cost, and what the first one alone: whole commands, each in a process of its own.

python scripts/train_demo_model.py --out family --seeds 0 --checkpoints 12
python scripts/checkpoints_bench.py family/adamw-seed-0
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from reach.natural_order import in_order


def _seconds(*arguments: str) -> float:
    """Wall clock of a command."""
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "reach", "scan", *arguments, "--runs", f"{place}/runs", "--quiet"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - began


def main(
    folder: Annotated[Path, typer.Argument(help="Checkpoints of one model.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is timed.")] = 3,
    margins: Annotated[float | None, typer.Option(help="As of reach scan.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="As of reach scan.")] = None,
) -> None:
    """Time the first checkpoint alone, all with the certificates of the one before, and all from nothing."""
    found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: in_order(path.name))
    more = [*(["--margins", str(margins)] if margins else []), *(["--jobs", str(jobs)] if jobs else [])]
    cases = {
        "the first alone": [str(found[0])],
        "the last alone": [str(found[-1])],
        f"all {len(found)}": [str(folder)],
        f"all {len(found)}, --cold": [str(folder), "--cold"],
    }
    _seconds(str(found[0]), *more)  # so that everything is compiled and read once
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, arguments in cases.items():
            times[name].append(_seconds(*arguments, *more))
    first = median(times["the first alone"])
    for name, seconds in times.items():
        ratios = [one / alone for one, alone in zip(seconds, times["the first alone"], strict=True)]
        typer.echo(
            f"{name:18} {median(seconds):7.2f} s  {median(seconds) / first:5.2f} × the first "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    typer.run(main)
