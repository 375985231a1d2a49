"""Run the fuzzers at length: `python scripts/fuzz.py --times 100` runs a hundred times what the tests do.

Heads have numbers; those of the tests begin at 0, and `--start` chooses others. A failure names its head, which
`random_head(NUMBER)` in tests/fuzz/heads.py makes again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=float, default=1.0, help="how many times as long as in the tests")
    parser.add_argument("--start", type=int, default=1000, help="number of the first head (the tests' is 0)")
    parser.add_argument("more", nargs="*", help="further arguments for pytest, after --")
    arguments = parser.parse_args()
    told = {"FUZZ_TIMES": str(arguments.times), "FUZZ_START": str(arguments.start)}
    command = [sys.executable, "-m", "pytest", "tests/fuzz", "-q", *arguments.more]
    return subprocess.call(command, cwd=ROOT, env={**os.environ, **told})


if __name__ == "__main__":
    sys.exit(main())
