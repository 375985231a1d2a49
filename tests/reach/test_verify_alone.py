"""`reach verify` stands on its own: it never loads a solver, so no solver's mistake can reach it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from reach_command import ROOT, columns_of, reach, save_head

from reach.scanning.judge import Judge

SOLVERS = """
import sys
names = ("highspy", "clarabel", "cvxpy", "ortools", "scipy.optimize", "solvers.backends", "solvers.basis",
         "solvers.registry", "reach.scanning.scan", "reach.scanning.stages", "reach.scanning.judge")
found = sorted(name for name in sys.modules if name in names or name.startswith(tuple(n + "." for n in names)))
print("loaded:", *found)
"""


def loaded_after(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code + SOLVERS], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return ended.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speakable, tied and unspeakable tokens, recipes, stored witnesses and exact proofs."""
    folder = tmp_path_factory.mktemp("alone")
    corners = [list(corner) for corner in itertools.product((-1.0, 1.0), repeat=3)]
    head = save_head(folder / "head.npz", [*corners, [0, 0, 0], [1, 1, 0], [1, 1, 1], [0.75, 0.75, 1.015625]])
    with patch.object(Judge, "forget_points"):  # so that some are stored
        ended = reach("scan", "--head", head, "--domain", "free", "--out", folder / "run", "--quiet", "--no-report")
    assert ended.code == 0
    columns = columns_of(folder / "run")
    assert {"speakable", "tied", "unspeakable"} == set(columns["verdict"])
    assert "stored" in columns["witness"]
    return folder / "run"


def test_the_probe_sees_a_solver() -> None:
    assert loaded_after("import solvers.backends.highs, scipy.optimize\n").split()[1:]


def test_importing_the_verifier_loads_no_solver() -> None:
    assert loaded_after("import reach.verify\n") == "loaded:"


@pytest.mark.parametrize("options", [[], ["--exact"], ["--json"]])
def test_running_verify_loads_no_solver(run: Path, options: list[str]) -> None:
    arguments = ["verify", str(run), "--quiet", *options]
    code = f"""
from reach.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code
"""
    assert loaded_after(code) == "loaded:"
