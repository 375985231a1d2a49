"""Running the `reach` command inside the tests' own process, and reading and changing the run folders it writes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reach.cli import main
from reach.runs.schema import HULL_WEIGHTS, VERDICTS

COMMAND = [sys.executable, "-m", "reach.cli"]
# Tests that run in the background may have SIGINT ignored, which a child inherits: it is set back before all else.
INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("reach.cli", run_name="__main__", alter_sys=True)
"""
LIMITED = """
import json, resource, sys
from reach_command import reach
outcomes = []
for most, arguments in json.loads(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    outcomes.append(reach(*arguments))
print(json.dumps([(one.code, one.out, one.err) for one in outcomes]))
"""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr of a command that was refused."""
        lines = [line for line in self.err.splitlines() if not line.startswith("reach: note: ")]
        assert self.code == 2, (self.code, self.out, self.err)
        assert len(lines) == 1, self.err
        assert lines[0].startswith("reach: "), self.err
        return lines[0].removeprefix("reach: ")


def reach(*arguments: object) -> Outcome:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return Outcome(int(code or 0), out.getvalue(), err.getvalue())  # type: ignore[call-overload]


def reach_process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would: in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT, **options
    )


def reach_within(*steps: tuple[int, tuple[object, ...]]) -> list[Outcome]:
    """Run commands one after the other in a process in which no file may grow beyond each step's number of bytes."""
    given = json.dumps([(most, [str(argument) for argument in arguments]) for most, arguments in steps])
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, given], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
    )  # fmt: skip
    return [Outcome(*one) for one in json.loads(ended.stdout)]


def start_reach(*arguments: object) -> subprocess.Popen[str]:
    """Start the command and do not wait for it. SIGINT interrupts it, whatever it does to the tests' own process."""
    return subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def save_head(file: Path, rows: Any, *, dtype: Any = np.float32, **more: Any) -> Path:
    """Write a bare head: rows, and b, gamma, beta, norm, eps as they are given."""
    arrays = {name: value if isinstance(value, str) else np.asarray(value, dtype) for name, value in more.items()}
    np.savez(file, W=np.asarray(rows, dtype), **arrays)
    return file


def columns_of(run: Path) -> dict[str, list[Any]]:
    """The verdicts table, column by column."""
    return pq.read_table(run / "verdicts.parquet").to_pydict()


def hulls_of(run: Path) -> dict[int, dict[int, float]]:
    """Token to its blockers and their weights."""
    found: dict[int, dict[int, float]] = {}
    for row in pq.read_table(run / "hull_weights.parquet").to_pylist():
        found.setdefault(row["token_id"], {})[row["row_id"]] = row["weight"]
    return found


def manifest_of(run: Path) -> dict[str, Any]:
    """The manifest."""
    return json.loads((run / "manifest.json").read_text(encoding="utf-8"))


def change_manifest(run: Path, **changes: Any) -> None:
    """Set entries of the manifest by hand."""
    (run / "manifest.json").write_text(json.dumps(manifest_of(run) | changes), encoding="utf-8")


def change_verdict(run: Path, token: int, **changes: Any) -> None:
    """Set entries of one token's verdict by hand."""
    columns = columns_of(run)
    for name, value in changes.items():
        columns[name][token] = value
    pq.write_table(pa.table(columns, schema=VERDICTS), run / "verdicts.parquet")


def change_hull(run: Path, token: int, weights: dict[int, float] | list[tuple[int, float]]) -> None:
    """Put other hull weights in the place of one token's."""
    pairs = weights.items() if isinstance(weights, dict) else weights
    kept = [row for row in pq.read_table(run / "hull_weights.parquet").to_pylist() if row["token_id"] != token]
    kept += [{"token_id": token, "row_id": row, "weight": weight} for row, weight in pairs]
    pq.write_table(pa.Table.from_pylist(kept, schema=HULL_WEIGHTS), run / "hull_weights.parquet")
