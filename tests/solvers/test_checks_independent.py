"""The checkers stand on their own: no solver is in sight."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import pkgutil, sys
import solvers.problem, solvers.checks
for module in pkgutil.iter_modules(solvers.checks.__path__, "solvers.checks."):
    __import__(module.name)
banned = ("highspy", "clarabel", "cvxpy", "scipy.optimize", "solvers.backends", "solvers.registry", "solvers.backend",
          "solvers.attempt", "solvers.search_space", "reach", "reports")
found = [name for name in sys.modules if any(name == b or name.startswith(b + ".") for b in banned)]
print(found)
sys.exit(bool(found))
"""

LISTING = """
import sys
from solvers import registry
print([entry.missing() for entry in registry.entries()])
found = [name for name in ("highspy", "clarabel", "scipy", "solvers.backends.barrier") if name in sys.modules]
print(found)
sys.exit(bool(found))
"""


def test_checkers_import_no_solver() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_listing_backends_imports_none() -> None:
    run = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
